/** Chats as text: a model's own chat template. */
@NullMarked
package dev.optgptq.formats.chat;

import org.jspecify.annotations.NullMarked;
