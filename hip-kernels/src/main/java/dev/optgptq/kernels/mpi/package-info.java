/** The ranks of a job that a launcher of MPI started: mpirun, srun, the MPI Operator of Kubernetes. */
@NullMarked
package dev.optgptq.kernels.mpi;

import org.jspecify.annotations.NullMarked;
