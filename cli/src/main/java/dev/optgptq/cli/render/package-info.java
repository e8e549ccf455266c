/** Results as files: JSON, HTML, JUnit XML, and the text summary. */
@NullMarked
package dev.optgptq.cli.render;

import org.jspecify.annotations.NullMarked;
