/** HTML and SVG as values. What is written is XML too, so any parser can check it. */
@NullMarked
package dev.optgptq.cli.render.markup;

import org.jspecify.annotations.NullMarked;
