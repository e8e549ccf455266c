package dev.optgptq.formats.gguf;

import java.util.List;

/** A value of the metadata, of the types that we write (GGUF specification, "gguf_metadata_value_type"). */
sealed interface GgufValue {

    record U32(int value) implements GgufValue {}

    record F32(float value) implements GgufValue {}

    record Flag(boolean value) implements GgufValue {}

    record Flags(List<Boolean> values) implements GgufValue {}

    record Floats(List<Float> values) implements GgufValue {}

    record Text(String value) implements GgufValue {}

    record Texts(List<String> values) implements GgufValue {}

    record Integers(List<Integer> values) implements GgufValue {}
}
