/** Writing to disk so that what is there is complete, and saying clearly why it could not be. */
@NullMarked
package dev.optgptq.formats.files;

import org.jspecify.annotations.NullMarked;
