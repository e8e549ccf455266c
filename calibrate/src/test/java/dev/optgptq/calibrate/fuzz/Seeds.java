package dev.optgptq.calibrate.fuzz;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** A right model directory: what every input of the campaign is but for its mutation. */
final class Seeds {

    static final String CONFIG = """
            {"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":64,"num_hidden_layers":2,
             "num_attention_heads":4,"num_key_value_heads":2,"head_dim":16,"intermediate_size":96,"vocab_size":8,
             "max_position_embeddings":128,"rms_norm_eps":1e-5,"hidden_act":"silu","attention_bias":false,"mlp_bias":false,
             "bos_token_id":0,"eos_token_id":[1,2],"tie_word_embeddings":true,"rope_theta":10000.0,
             "rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
               "original_max_position_embeddings":64},"torch_dtype":"float16","use_cache":true}""";
    static final String INDEX = """
            {"metadata":{"total_size":1},"weight_map":{"m.qweight":"model.safetensors","m.qzeros":"model.safetensors",
             "m.scales":"model.safetensors","m.g_idx":"model.safetensors"}}""";
    static final String QUANTIZATION = """
            {"quant_method":"gptq","bits":4,"group_size":32,"sym":true,"desc_act":true,"lm_head":false,
             "checkpoint_format":"gptq","format":"gptq","pack_dtype":"int32","dynamic":{"-:lm_head":{}},
             "meta":{"quantizer":["opt-gptq:0.1.0"]}}""";
    /** A packed linear of 64 inputs and 32 outputs at 4 bits in 2 groups. */
    static final String HEADER = """
            {"__metadata__":{"format":"pt"},
             "m.qweight":{"dtype":"I32","shape":[8,32],"data_offsets":[0,1024]},
             "m.qzeros":{"dtype":"I32","shape":[2,4],"data_offsets":[1024,1056]},
             "m.g_idx":{"dtype":"I32","shape":[64],"data_offsets":[1056,1312]},
             "m.scales":{"dtype":"F16","shape":[2,32],"data_offsets":[1312,1440]}}""";
    static final String TOKENIZER = """
            {"version":"1.0","truncation":null,"padding":null,
             "added_tokens":[{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,
               "special":true}],
             "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},
               {"type":"Replace","pattern":{"String":"a"},"content":"aa"}]},
             "pre_tokenizer":{"type":"Sequence","pretokenizers":[
               {"type":"Split","pattern":{"Regex":" ?\\\\p{L}+|\\\\s+"},"behavior":"Isolated","invert":false},
               {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]},
             "post_processor":null,
             "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
             "model":{"type":"BPE","dropout":null,"unk_token":"<s>","continuing_subword_prefix":null,
               "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
               "vocab":{"<s>":0,"a":1,"b":2,"ab":3,"\u0120":4,"aa":5},"merges":[["a","b"],["a","a"]]}}""";

    private static final int DATA_BYTES = 1440;

    int dataBytes() {
        return DATA_BYTES;
    }

    /** Puts every file right again. */
    void writeTo(Path folder) throws IOException {
        Files.writeString(folder.resolve("config.json"), CONFIG);
        Files.writeString(folder.resolve("quantize_config.json"), QUANTIZATION);
        Files.deleteIfExists(folder.resolve("model.safetensors.index.json"));
        byte[] header = HEADER.getBytes(StandardCharsets.UTF_8);
        ByteBuffer file = ByteBuffer.allocate(8 + header.length + DATA_BYTES).order(ByteOrder.LITTLE_ENDIAN)
                .putLong(header.length).put(header).put(data());
        Files.write(folder.resolve("model.safetensors"), file.array());
    }

    /** Codes of any kind, zero points of 8 stored as 7, groups in order, scales of 1. */
    private static byte[] data() {
        byte[] data = new byte[DATA_BYTES];
        Arrays.fill(data, 0, 1024, (byte) 0x5a);
        Arrays.fill(data, 1024, 1056, (byte) 0x77);
        ByteBuffer bytes = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        for (int input = 0; input < 64; input++) {
            bytes.putInt(1056 + 4 * input, input / 32);
        }
        for (int scale = 0; scale < 64; scale++) {
            bytes.putShort(1312 + 2 * scale, (short) 0x3c00);
        }
        return data;
    }
}
