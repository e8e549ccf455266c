/** Inline SVG charts. Colours are CSS custom properties of the page, so that they follow light and dark. */
@NullMarked
package dev.optgptq.cli.render.chart;

import org.jspecify.annotations.NullMarked;
