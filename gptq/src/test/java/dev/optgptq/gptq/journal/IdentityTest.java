package dev.optgptq.gptq.journal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.junit.jupiter.api.Test;

class IdentityTest {

    @Test
    void every_difference_is_named_with_what_was_and_what_is() {
        Identity was = of("--bits", "4", "--damp", "0.01", "a.safetensors", "10 bytes");
        Identity is = of("--bits", "3", "--damp", "0.01", "b.safetensors", "10 bytes");

        assertEquals(List.of("--bits was 4 and is 3", "b.safetensors was not there and is 10 bytes",
                "a.safetensors was 10 bytes and is not there"), is.changesSince(was));
    }

    @Test
    void order_makes_no_difference() {
        assertEquals(List.of(), of("a", "1", "b", "2").changesSince(of("b", "2", "a", "1")));
    }

    @Test
    void it_comes_back_from_json_as_it_was() {
        Identity identity = of("--bits", "4", "the device", "\"quoted\" \u2192 \\ \n");

        assertEquals(identity, Identity.fromJson(identity.toJson()));
    }

    private static Identity of(String... namesAndValues) {
        SequencedMap<String, String> facts = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            facts.put(namesAndValues[i], namesAndValues[i + 1]);
        }
        return new Identity(facts);
    }
}
