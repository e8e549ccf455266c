package dev.optgptq.gptq.convert;

import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** A layer's report entry in the journal. */
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
