/** Columns of Parquet files, as hubs offer them. */
@NullMarked
package dev.optgptq.formats.parquet;

import org.jspecify.annotations.NullMarked;
