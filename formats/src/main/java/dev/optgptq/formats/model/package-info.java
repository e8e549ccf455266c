@NullMarked
package dev.optgptq.formats.model;

import org.jspecify.annotations.NullMarked;
