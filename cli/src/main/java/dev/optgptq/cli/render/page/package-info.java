/** report.html. */
@NullMarked
package dev.optgptq.cli.render.page;

import org.jspecify.annotations.NullMarked;
