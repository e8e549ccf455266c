@NullMarked
package dev.optgptq.cli.render.chart;

import org.jspecify.annotations.NullMarked;
