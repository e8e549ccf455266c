/** Reading and writing the JSON files of a model directory. */
@NullMarked
package dev.optgptq.formats.json;

import org.jspecify.annotations.NullMarked;
