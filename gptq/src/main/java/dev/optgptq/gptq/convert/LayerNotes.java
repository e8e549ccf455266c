package dev.optgptq.gptq.convert;

import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** What the report says of a layer, as the journal keeps it. */
final class LayerNotes {

    private static final JsonMapper JSON = JsonMapper.shared();

    private LayerNotes() {}

    static ObjectNode write(ConvertReport.Layer layer) {
        return JSON.valueToTree(layer);
    }

    static ConvertReport.Layer read(ObjectNode note) {
        return JSON.treeToValue(note, ConvertReport.Layer.class);
    }
}
