/** HTML and SVG as values. The output is also XML, so any parser can check it. */
@NullMarked
package dev.optgptq.cli.render.markup;

import org.jspecify.annotations.NullMarked;
