/**
 * The contract suite: every op on every device against {@code reference}. A case is declared once
 * ({@link dev.optgptq.kernels.contract.OpCase}) and serves every mode:
 *
 * <ul>
 * <li>test: {@code ContractTest} compares each device with the reference, in every placement of the operands;
 * <li>bench: {@code BenchMode} prints time and GFLOP/s or GB/s of the cases that declare their work;
 * <li>support: {@code SupportMode} prints which device has which op;
 * <li>gradient: {@code FiniteDifferencesTest} compares the reference's backward ops, declared as
 * {@link dev.optgptq.kernels.contract.GradientCase}, with differences of its forward ops.
 * </ul>
 */
@NullMarked
package dev.optgptq.kernels.contract;

import org.jspecify.annotations.NullMarked;
