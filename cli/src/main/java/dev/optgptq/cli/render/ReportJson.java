package dev.optgptq.cli.render;

import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/** Records as JSON: fields in the order they are declared, nulls written, numbers that JSON lacks as "NaN" strings. */
public final class ReportJson {

    private static final JsonMapper MAPPER = JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

    private ReportJson() {}

    /** The record as indented JSON with a final line feed. */
    public static String text(Record value) {
        return MAPPER.writeValueAsString(value) + "\n";
    }
}
