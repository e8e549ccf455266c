package dev.optgptq.gptq.convert.layer;

import dev.optgptq.kernels.HostVectors;
import dev.optgptq.formats.dtype.DType;
import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Tensor;
import dev.optgptq.kernels.TensorArena;
import dev.optgptq.kernels.dense.Matrix;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Matrices between the device, where they are float32 or of 16 bits unless said otherwise, and the host, where they are float64. */
public record HostCopies(Device device) {

    public Matrix download(Tensor tensor) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment values = host.allocate(ValueLayout.JAVA_FLOAT, Math.max(1, tensor.elements()))
                    .asSlice(0, Float.BYTES * tensor.elements());
            if (tensor.isDense() && tensor.dtype() == DType.F32) {
                device.download(tensor, values);
            } else {
                try (TensorArena scratch = device.arena()) {
                    device.download(single(tensor, scratch), values);
                }
            }
            return Matrix.of(Math.toIntExact(tensor.rows()), Math.toIntExact(tensor.columns()),
                    values.toArray(ValueLayout.JAVA_FLOAT));
        }
    }

    /** A dense F32 copy. */
    Tensor single(Tensor tensor, TensorArena arena) {
        Tensor single = arena.matrix(DType.F32, tensor.rows(), tensor.columns());
        device.neural().convert(tensor, single);
        return single;
    }

    /** Writes to a tensor of the same shape, rounded to its dtype. */
    public void upload(Matrix matrix, Tensor target) {
        if (target.rows() != matrix.rows() || target.columns() != matrix.columns()) {
            throw new IllegalArgumentException(matrix + " to " + target);
        }
        try (Arena host = Arena.ofShared(); TensorArena scratch = device.arena()) {
            MemorySegment values = host.allocateFrom(ValueLayout.JAVA_FLOAT, matrix.toFloats());
            if (target.isDense() && target.dtype() == DType.F32) {
                device.upload(values, target);
            } else {
                Tensor dense = scratch.matrix(DType.F32, target.rows(), target.columns());
                device.upload(values, dense);
                device.neural().convert(dense, target);
            }
            device.synchronize();
        }
    }

    /** A new tensor; the arena owns it. */
    public Tensor upload(Matrix matrix, TensorArena arena) {
        Tensor target = arena.matrix(DType.F32, matrix.rows(), matrix.columns());
        upload(matrix, target);
        return target;
    }

    /** Of a dense F64 tensor. */
    Matrix downloadDoubles(Tensor tensor) {
        try (Arena host = Arena.ofShared()) {
            MemorySegment values = host.allocate(Math.max(1, tensor.bytes()), Double.BYTES).asSlice(0, tensor.bytes());
            device.download(tensor, values);
            return Matrix.of(Math.toIntExact(tensor.rows()), Math.toIntExact(tensor.columns()),
                    values.toArray(ValueLayout.JAVA_DOUBLE));
        }
    }

    /** A new F64 tensor; the arena owns it. */
    Tensor uploadDoubles(Matrix matrix, TensorArena arena) {
        Tensor target = arena.matrix(DType.F64, matrix.rows(), matrix.columns());
        try (Arena host = Arena.ofShared()) {
            device.upload(host.allocateFrom(ValueLayout.JAVA_DOUBLE, matrix.toDoubles()), target);
            device.synchronize();
        }
        return target;
    }

    /** The one element of a float64 result. */
    public double number(Tensor result) {
        return HostVectors.doubles(device, result)[0];
    }
}
