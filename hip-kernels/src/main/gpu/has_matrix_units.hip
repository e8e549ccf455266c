// Whether this was compiled for a GPU with matrix units that matrix_units.h supports.
#include "matrix_units.h"

KERNEL(1) has_matrix_units(int* answer) { *answer = MATRIX_UNITS; }
