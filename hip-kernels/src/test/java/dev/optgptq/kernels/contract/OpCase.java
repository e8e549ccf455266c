package dev.optgptq.kernels.contract;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * One call of one op, declared: its operands, how to call it, and how much work it is.
 *
 * @param op the method's name
 * @param shape the sizes, for people
 * @param operands in the order declared
 */
public record OpCase(String op, String shape, List<Operand> operands, Call call, Work work) {

    /** Calls the op with operands found by name. */
    @FunctionalInterface
    public interface Call {
        void run(Device device, Operands operands);
    }

    /** What one call does, for rates: 0 when not declared. */
    public record Work(double flops, double bytes) {
        static final Work UNDECLARED = new Work(0, 0);

        boolean isDeclared() {
            return flops > 0 || bytes > 0;
        }
    }

    /** Starts a case. */
    public static Builder op(String op, String shape) {
        return new Builder(op, shape);
    }

    /** The same case with its floating-point operations counted, so that bench mode runs it. */
    public OpCase flops(double flops) {
        return new OpCase(op, shape, operands, call, new Work(flops, 0));
    }

    /** The same case with the bytes it must read and write, so that bench mode runs it. */
    public OpCase bytes(double bytes) {
        return new OpCase(op, shape, operands, call, new Work(0, bytes));
    }

    /** Seeds the operands; part of every failure message. */
    long seed() {
        return toString().hashCode();
    }

    @Override
    public String toString() {
        return op + " " + shape;
    }

    /** Collects the operands of a case. */
    public static final class Builder {
        private final String op;
        private final String shape;
        private final List<Operand> operands = new ArrayList<>();

        private Builder(String op, String shape) {
            this.op = op;
            this.shape = shape;
        }

        /** An operand that the op reads and must not write. */
        public Builder input(String name, DType dtype, long rows, long columns, Values values) {
            operands.add(new Operand(name, dtype, rows, columns, values, Operand.Role.INPUT, Tolerance.EXACT));
            return this;
        }

        /** An operand that the op writes in full and must not read: it starts as NaN. */
        public Builder output(String name, DType dtype, long rows, long columns, Tolerance tolerance) {
            operands.add(
                    new Operand(name, dtype, rows, columns, Values.garbage(), Operand.Role.OUTPUT, tolerance));
            return this;
        }

        /** An operand that the op reads and writes. */
        public Builder inPlace(String name, DType dtype, long rows, long columns, Values values, Tolerance tolerance) {
            operands.add(new Operand(name, dtype, rows, columns, values, Operand.Role.IN_PLACE, tolerance));
            return this;
        }

        /** Ends the declaration. */
        public OpCase call(Call call) {
            return new OpCase(op, shape, List.copyOf(operands), call, Work.UNDECLARED);
        }
    }

    /**
     * One operand, declared.
     *
     * @param tolerance how far an output may be from the reference's
     */
    public record Operand(String name, DType dtype, long rows, long columns, Values values, Role role,
            Tolerance tolerance) {

        /** What the op may do with it. */
        public enum Role {
            INPUT, OUTPUT, IN_PLACE
        }

        HostMatrix fill(long caseSeed) {
            return HostMatrix.filled(dtype, rows, columns, values, caseSeed * 31 + name.hashCode());
        }
    }

    /** The operands of a case as tensors on one device. */
    @FunctionalInterface
    public interface Operands {
        Tensor get(String name);
    }
}
