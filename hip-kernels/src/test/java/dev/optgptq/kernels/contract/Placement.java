package dev.optgptq.kernels.contract;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Where in device memory the operands of a case lie. */
enum Placement {
    /** Each in its own aligned, dense matrix. */
    DENSE,
    /** Each a view of the inside of a larger matrix, whose margin must stay as it was. */
    STRIDED,
    /** Inputs loaded from host bytes at an odd address, as a checkpoint may have them; the others dense. */
    UNALIGNED;

    private static final int MARGIN_ROWS = 1;
    private static final int MARGIN_COLUMNS = 3;
    private static final byte MARGIN = 0x5A;

    /** An operand in its place, with the whole matrix it is a view of: itself, or a larger one. */
    record Placed(Tensor tensor, Tensor whole) {

        /** True when no byte outside the view was written. */
        boolean marginIsIntact(Device device) {
            HostMatrix all = HostMatrix.empty(whole.dtype(), whole.rows(), whole.columns());
            device.download(whole, all.bytes());
            long size = whole.dtype().bytes();
            long rowBytes = whole.columns() * size;
            long marginRows = (whole.rows() - tensor.rows()) / 2;
            long marginColumns = (whole.columns() - tensor.columns()) / 2;
            for (long i = 0; i < all.bytes().byteSize(); i++) {
                long row = i / rowBytes - marginRows;
                long column = i % rowBytes / size - marginColumns;
                boolean inside = row >= 0 && row < tensor.rows() && column >= 0 && column < tensor.columns();
                if (!inside && all.bytes().get(ValueLayout.JAVA_BYTE, i) != MARGIN) {
                    return false;
                }
            }
            return true;
        }
    }

    Placed place(Device device, TensorArena arena, OpCase.Operand operand, HostMatrix content) {
        return switch (this) {
            case DENSE -> dense(device, arena, content);
            case STRIDED -> strided(device, arena, content);
            case UNALIGNED -> operand.role() == OpCase.Operand.Role.INPUT
                    ? unaligned(arena, content)
                    : dense(device, arena, content);
        };
    }

    private static Placed dense(Device device, TensorArena arena, HostMatrix content) {
        Tensor tensor = arena.matrix(content.dtype(), content.rows(), content.columns());
        device.upload(content.bytes(), tensor);
        return new Placed(tensor, tensor);
    }

    private static Placed strided(Device device, TensorArena arena, HostMatrix content) {
        long rows = content.rows() + 2 * MARGIN_ROWS;
        long columns = content.columns() + 2 * MARGIN_COLUMNS;
        Tensor whole = arena.matrix(content.dtype(), rows, columns);
        HostMatrix margin = HostMatrix.empty(content.dtype(), rows, columns);
        device.upload(margin.bytes().fill(MARGIN), whole);
        Tensor view = whole.rows(MARGIN_ROWS, content.rows()).columns(MARGIN_COLUMNS, content.columns());
        device.upload(content.bytes(), view);
        return new Placed(view, whole);
    }

    private static Placed unaligned(TensorArena arena, HostMatrix content) {
        long size = content.bytes().byteSize();
        // Automatic: a device that does not copy keeps the memory alive through the tensor's segment.
        MemorySegment odd = Arena.ofAuto().allocate(size + 1, 64).asSlice(1, size).copyFrom(content.bytes());
        Tensor tensor = arena.load(odd, content.dtype(), content.rows(), content.columns());
        return new Placed(tensor, tensor);
    }
}
