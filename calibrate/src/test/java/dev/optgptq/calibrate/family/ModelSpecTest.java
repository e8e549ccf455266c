package dev.optgptq.calibrate.family;

import static dev.optgptq.formats.testing.Failures.assertUserError;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.formats.dtype.DType;
import dev.optgptq.calibrate.testing.Fixture;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.model.ModelConfig;
import dev.optgptq.kernels.ops.NeuralOps.Activation;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

class ModelSpecTest {

    private static final JsonMapper JSON = new JsonMapper();

    private static ModelSpec resolve(String fixture, String... changes) {
        return ModelSpec.resolve(config(fixture, changes));
    }

    /** A fixture's config.json with keys replaced: "a.b=1.5"; an empty value removes the key. */
    private static ModelConfig config(String fixture, String... changes) {
        ModelConfig config = ModelConfig.read(Fixture.directory(fixture).resolve("config.json"));
        for (String change : changes) {
            String[] parts = change.split("=", 2);
            ObjectNode parent = (ObjectNode) config.json();
            String key = parts[0];
            for (int dot = key.indexOf('.'); dot >= 0; dot = key.indexOf('.')) {
                String outer = key.substring(0, dot);
                parent = parent.path(outer).isObject() ? (ObjectNode) parent.get(outer) : parent.putObject(outer);
                key = key.substring(dot + 1);
            }
            JsonNode value = parts[1].isEmpty() ? null : JSON.readTree(parts[1]);
            if (value == null) {
                parent.remove(key);
            } else {
                parent.set(key, value);
            }
        }
        return config;
    }

    @Test
    void llamaListsItsLinearsInForwardOrder() {
        List<LinearSpec> linears = resolve(Fixture.LLAMA_GQA).linears(1);
        assertEquals(List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"), linears.stream().map(LinearSpec::role).toList());
        assertEquals(plain("model.layers.1.", "self_attn.k_proj", Projection.KEY, 64, 32), linears.get(1));
        assertEquals(plain("model.layers.1.", "mlp.down_proj", Projection.DOWN, 160, 64), linears.get(6));
    }

    private static LinearSpec plain(String prefix, String role, Projection projection, int inputs, int outputs) {
        String module = prefix + role;
        return new LinearSpec(module, role, projection, LinearSpec.NO_EXPERT, inputs, outputs, false,
                new WeightView(module + ".weight", module + ".bias", RowOrder.single(outputs),
                        WeightView.Stored.OUT_IN, 0, 1));
    }

    private static Mixer.Attention attention(ModelSpec spec) {
        return (Mixer.Attention) spec.block(0).mixer();
    }

    private static Activation activation(ModelSpec spec) {
        return switch (((FeedForward.Dense) spec.block(0).feedForward()).form()) {
            case FeedForward.Form.Gated gated -> gated.activation();
            case FeedForward.Form.Plain plain -> plain.activation();
            case FeedForward.Form.Clamped clamped -> throw new AssertionError(clamped);
        };
    }

    private static NormSpec firstNorm(ModelSpec spec) {
        return spec.norms().getFirst();
    }

    @Test
    void mptFusesQueriesKeysAndValues() {
        ModelSpec spec = resolve(Fixture.MPT);
        assertEquals(List.of(192, 64, 256, 64), spec.linears(0).stream().map(LinearSpec::outputs).toList());
        assertEquals(InputSite.ATTENTION_INPUT, spec.linears(0).getFirst().site());
        assertEquals(new Position.Alibi(8, 1, DType.F32), attention(spec).position());
        assertEquals(new NormSpec("transformer.blocks.0.norm_1", NormSpec.Kind.LAYER, 1e-5f, 0, false, 64, 64, 1),
                firstNorm(spec));
        assertEquals(Activation.GELU, activation(spec));
        assertTrue(spec.head().tied());
    }

    @ParameterizedTest
    @ValueSource(strings = {"llama", "mpt"})
    void everyFamilyListsLinearsInTheOrderOfTheirSites(String family) {
        List<InputSite> sites = resolve(family.equals("mpt") ? Fixture.MPT : Fixture.LLAMA).linears(0).stream()
                .map(LinearSpec::site).toList();
        assertEquals(sites.stream().sorted().toList(), sites);
    }

    @Test
    void sizesThatFollowFromOthersMayBeAbsent() {
        ModelSpec spec = resolve(Fixture.LLAMA, "head_dim=", "num_key_value_heads=", "rms_norm_eps=", "hidden_act=");
        Mixer.Attention form = attention(spec);
        assertEquals(List.of(4, 4, 16, 0), List.of(form.heads(), form.kvHeads(), form.headDim(), form.window()));
        assertEquals(0.25f, form.scale());
        assertEquals(1e-6f, firstNorm(spec).eps());
        assertEquals(Activation.SILU, activation(spec));
    }

    @Test
    void mptMayHaveFewerKeyValueHeadsAndBiases() {
        ModelSpec spec = resolve(Fixture.MPT, "attn_config.kv_n_heads=2", "no_bias=false");
        assertEquals(128, spec.linears(0).getFirst().outputs());
        assertTrue(spec.linears(0).stream().allMatch(LinearSpec::bias));
        assertTrue(firstNorm(spec).bias());
    }

    @Test
    void anUnknownFamilyIsRefusedWithTheKnownOnes() {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> resolve(Fixture.LLAMA, "model_type=\"mamba\""), "model_type",
                "mamba", "nearest", "llama", "opt-gptq families");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"attn_config.alibi=false|attn_config.alibi is false|with true",
            "attn_config.alibi=|attn_config.alibi is absent|with true",
            "attn_config.prefix_lm=true|attn_config.prefix_lm is true|false",
            "attn_config.attn_type=\"multiquery_attention\"|multiquery_attention|multihead_attention",
            "logit_scale=\"inv_sqrt_d_model\"|logit_scale|absent", "norm_type=\"rmsnorm\"|norm_type|layernorm",
            "embedding_fraction=0.5|embedding_fraction is 0.5|with 1"})
    void aSettingThatChangesTheModelIsRefusedByName(String change, String found, String supported) {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> resolve(Fixture.MPT, change), "config.json", found, supported);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"hidden_act=\"softsign\"|hidden_act is \"softsign\"|gelu_new",
            "rope_parameters.rope_type=\"ntk\"|rope_parameters.rope_type is \"ntk\"|default, linear, dynamic, llama3, yarn"})
    void anActivationOrRotaryFormThatIsNotImplementedIsRefused(String change, String found, String supported) {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> resolve(Fixture.LLAMA, change), "config.json", found, supported);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"hidden_size=|hidden_size", "num_hidden_layers=-1|num_hidden_layers",
            "num_key_value_heads=3|cannot share 3",
            "head_dim=2000000000|4 attention heads of 2000000000 elements", "rms_norm_eps=\"small\"|rms_norm_eps",
            "rope_parameters.rope_theta=0|rope_theta", "rms_norm_eps=-1e-6|rms_norm_eps",
            "rms_norm_eps=3|between 0 and 1", "rope_parameters=1|expected an object"})
    void aConfigThatContradictsItselfIsRefused(String change, String named) {
        assertUserError(Code.BAD_MODEL, () -> resolve(Fixture.LLAMA, change), "config.json", named);
    }

    @Test
    void headsThatDoNotDivideTheHiddenSizeAreRefused() {
        assertUserError(Code.BAD_MODEL, () -> resolve(Fixture.MPT, "n_heads=5"), "64", "5");
    }

    private static Position.Rotary rotary(String... changes) {
        return assertInstanceOf(Position.Rotary.class, attention(resolve(Fixture.LLAMA, changes)).position());
    }

    /** transformers 5: a non-empty rope_scaling replaces rope_parameters. */
    @Test
    void anOlderBlockOfRotarySettingsCountsBeforeANewerOne() {
        assertEquals(new RotaryScaling.Linear(4),
                rotary("rope_parameters.rope_type=\"default\"", "rope_scaling={\"type\": \"linear\", \"factor\": 4}")
                        .scaling());
    }

    @Test
    void aThetaInsideTheBlockCountsBeforeOneBesideIt() {
        assertEquals(500_000, rotary("rope_parameters=", "rope_theta=10000",
                "rope_scaling={\"type\": \"linear\", \"factor\": 4, \"rope_theta\": 500000}").theta());
    }

    /** As transformers' default rotary embedding of this family does. */
    @Test
    void aShareOfTheHeadThatTheFamilyDoesNotReadChangesNothing() {
        assertEquals(16, rotary("partial_rotary_factor=0.5").rotaryDim());
        assertEquals(16, rotary("rope_parameters.partial_rotary_factor=0.5").rotaryDim());
        assertUserError(Code.UNSUPPORTED_MODEL, () -> rotary("partial_rotary_factor=0.5",
                "rope_scaling={\"type\": \"linear\", \"factor\": 4}"), "partial_rotary_factor is 0.5");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"is_causal=false|is_causal is false",
            "attn_logit_softcapping=50|attn_logit_softcapping is 50",
            "residual_modification=\"x\"|residual_modification"})
    void aFieldOfAnotherFamilyThatChangesTheModelIsRefused(String change, String named) {
        assertUserError(Code.UNSUPPORTED_MODEL, () -> resolve(Fixture.LLAMA, change), named);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"sparkle=3|sparkle", "auto_map={\"AutoModel\": \"m.M\"}|auto_map",
            "architectures=[\"SparkleForCausalLM\"]|SparkleForCausalLM"})
    void whatIsUnknownIsNamed(String change, String named) {
        List<String> remarks = resolve(Fixture.LLAMA, change).remarks();
        assertEquals(1, remarks.size(), remarks::toString);
        assertTrue(remarks.getFirst().contains(named), remarks::toString);
    }

    @Test
    void rotarySettingsAreReadFromWhereOlderTransformersWroteThem() {
        Position.Rotary older = rotary("rope_parameters=", "rope_theta=500000",
                "rope_scaling={\"type\": \"linear\", \"factor\": 4}");
        assertEquals(500_000, older.theta());
        assertEquals(new RotaryScaling.Linear(4), older.scaling());
    }

    @Test
    void rotarySettingsAreReadFromWhereNewerTransformersWritesThem() {
        Position.Rotary newer = assertInstanceOf(Position.Rotary.class,
                attention(resolve(Fixture.LLAMA_GQA)).position());
        assertEquals(500_000, newer.theta());
        assertEquals(new RotaryScaling.Llama3(8, 1, 4, 64), newer.scaling());
    }

    @Test
    void messagesNameTheFile(@TempDir Path folder) {
        Path copy = Fixture.copy(Fixture.LLAMA, folder.resolve("m"), config -> config.put("model_type", "rwkv"));
        assertUserError(Code.UNSUPPORTED_MODEL, () -> ModelSpec.resolve(ModelConfig.read(copy.resolve("config.json"))),
                copy.resolve("config.json").toString());
    }
}
