/** The report as a browser shows it. */
@NullMarked
package dev.optgptq.cli.render.browser;

import org.jspecify.annotations.NullMarked;
