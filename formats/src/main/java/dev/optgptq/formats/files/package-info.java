/** Writing complete files to disk, with clear errors. */
@NullMarked
package dev.optgptq.formats.files;

import org.jspecify.annotations.NullMarked;
