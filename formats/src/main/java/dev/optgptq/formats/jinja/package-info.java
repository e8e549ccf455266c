/** The part of Jinja that chat templates of published models use, on untrusted templates: no files, bounded work. */
@NullMarked
package dev.optgptq.formats.jinja;

import org.jspecify.annotations.NullMarked;
