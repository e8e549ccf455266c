package dev.optgptq.formats.safetensors;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.formats.dtype.Shape;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;

/**
 * One tensor of an open file: a read-only window into the mapped bytes, valid until the file is closed.
 *
 * @param name its name in the file
 * @param data exactly shape.elements() * dtype.bytes() bytes, little-endian; the address may be unaligned
 * @param file the file that holds it, for messages
 */
public record TensorView(String name, DType dtype, Shape shape, MemorySegment data, Path file) {}
