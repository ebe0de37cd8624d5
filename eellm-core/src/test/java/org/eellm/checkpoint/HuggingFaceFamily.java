package org.eellm.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;

/**
 * Small models with random weights in the layouts of Hugging Face's families: fields, names and
 * shapes are written out here as the families' published folders have them.
 */
public enum HuggingFaceFamily {
  LLAMA_2(
      """
      {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 264,
       "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
       "num_key_value_heads": 4, "hidden_act": "silu", "max_position_embeddings": 96,
       "initializer_range": 0.02, "rms_norm_eps": 1e-05, "pretraining_tp": 1, "use_cache": true,
       "rope_scaling": null, "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2,
       "torch_dtype": "float16", "transformers_version": "4.31.0"}
      """),
  LLAMA_3_2(
      """
      {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
       "bos_token_id": 1, "eos_token_id": [2, 3], "head_dim": 8, "hidden_act": "silu",
       "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 48,
       "max_position_embeddings": 96, "mlp_bias": false, "model_type": "llama",
       "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 2,
       "pretraining_tp": 1, "rms_norm_eps": 1e-05,
       "rope_scaling": {"factor": 4.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                        "original_max_position_embeddings": 24, "rope_type": "llama3"},
       "rope_theta": 500000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
       "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 264}
      """),
  MISTRAL(
      """
      {"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
       "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02,
       "intermediate_size": 56, "max_position_embeddings": 96, "model_type": "mistral",
       "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 1,
       "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": null,
       "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.42.0",
       "use_cache": true, "vocab_size": 264}
      """),
  QWEN2(
      """
      {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
       "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 32, "initializer_range": 0.02,
       "intermediate_size": 48, "max_position_embeddings": 96, "max_window_layers": 3,
       "model_type": "qwen2", "num_attention_heads": 4, "num_hidden_layers": 4,
       "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
       "sliding_window": 96, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
       "transformers_version": "4.43.1", "use_cache": true, "use_sliding_window": false,
       "vocab_size": 264}
      """),
  QWEN3(
      """
      {"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
       "bos_token_id": 1, "eos_token_id": 2, "head_dim": 16, "hidden_act": "silu",
       "hidden_size": 32, "initializer_range": 0.02, "intermediate_size": 48,
       "max_position_embeddings": 96, "max_window_layers": 4, "model_type": "qwen3",
       "num_attention_heads": 4, "num_hidden_layers": 4, "num_key_value_heads": 2,
       "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000,
       "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
       "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false,
       "vocab_size": 264}
      """),
  SMOLLM(
      """
      {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
       "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 24,
       "initializer_range": 0.041666666666666664, "intermediate_size": 64,
       "is_llama_config": true, "max_position_embeddings": 96, "model_type": "llama",
       "num_attention_heads": 3, "num_hidden_layers": 5, "num_key_value_heads": 1,
       "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_interleaved": false,
       "rope_scaling": null, "rope_theta": 100000, "tie_word_embeddings": true,
       "torch_dtype": "bfloat16", "transformers.js_config": {"dtype": "q4"},
       "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 264}
      """),
  GPT2(
      """
      {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"],
       "attn_pdrop": 0.1, "bos_token_id": 1, "embd_pdrop": 0.1, "eos_token_id": 2,
       "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2",
       "n_ctx": 96, "n_embd": 32, "n_head": 4, "n_layer": 4, "n_positions": 96,
       "resid_pdrop": 0.1, "vocab_size": 264, "torch_dtype": "float32"}
      """),
  GPT_NEOX(
      """
      {"architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
       "hidden_act": "gelu", "hidden_size": 64, "initializer_range": 0.02,
       "intermediate_size": 128, "layer_norm_eps": 1e-06, "max_position_embeddings": 96,
       "model_type": "gpt_neox", "num_attention_heads": 4, "num_hidden_layers": 4,
       "rotary_emb_base": 20000, "rotary_pct": 0.5, "tie_word_embeddings": false,
       "torch_dtype": "float16", "transformers_version": "4.24.0", "use_cache": true,
       "use_parallel_residual": false, "vocab_size": 264}
      """),
  PYTHIA(
      """
      {"architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
       "hidden_act": "gelu", "hidden_size": 64, "initializer_range": 0.02,
       "intermediate_size": 256, "layer_norm_eps": 1e-05, "max_position_embeddings": 96,
       "model_type": "gpt_neox", "num_attention_heads": 4, "num_hidden_layers": 5,
       "rotary_emb_base": 10000, "rotary_pct": 0.25, "tie_word_embeddings": false,
       "torch_dtype": "float16", "transformers_version": "4.24.0", "use_cache": true,
       "use_parallel_residual": true, "vocab_size": 264}
      """);

  private static final JsonMapper JSON = new JsonMapper();

  private final String config;

  HuggingFaceFamily(String config) {
    this.config = config;
  }

  /** The fields of {@code config.json}. */
  public ObjectNode config() {
    try {
      return (ObjectNode) JSON.readTree(config);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * Writes a model.
   *
   * @param type of the weights
   * @param shards files that they are divided among
   */
  public void write(Path folder, SafetensorsType type, int shards) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("config.json"), config);
    Files.writeString(
        folder.resolve("generation_config.json"), "{\"bos_token_id\": 1, \"eos_token_id\": 2}");
    List<TensorSource> tensors = new ArrayList<>();
    shapes().forEach((name, shape) -> tensors.add(draw(name, type, shape)));
    if (shards == 1) {
      SafetensorsWriter.write(folder.resolve("model.safetensors"), Map.of("format", "pt"), tensors);
      return;
    }
    ObjectNode index = JSON.createObjectNode();
    ObjectNode map = index.putObject("weight_map");
    for (int shard = 0; shard < shards; shard++) {
      String file = "model-%05d-of-%05d.safetensors".formatted(shard + 1, shards);
      List<TensorSource> own =
          tensors.subList(shard * tensors.size() / shards, (shard + 1) * tensors.size() / shards);
      SafetensorsWriter.write(folder.resolve(file), Map.of("format", "pt"), own);
      own.forEach(tensor -> map.put(tensor.name(), file));
    }
    Files.writeString(folder.resolve("model.safetensors.index.json"), index.toString());
  }

  private int size(String field) {
    return config().path(field).asInt();
  }

  private Map<String, List<Long>> shapes() {
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    switch (this) {
      case GPT2 -> gpt2(shapes, size("n_embd"));
      case GPT_NEOX, PYTHIA -> neox(shapes, size("hidden_size"), size("intermediate_size"));
      default -> llama(shapes, size("hidden_size"), size("intermediate_size"));
    }
    return shapes;
  }

  private void llama(Map<String, List<Long>> shapes, long hidden, long inner) {
    JsonNode fields = config();
    int heads = size("num_attention_heads");
    long width = fields.path("head_dim").asLong(hidden / heads);
    long queries = heads * width;
    long keys = size("num_key_value_heads") * width;
    shapes.put("model.embed_tokens.weight", List.of(264L, hidden));
    for (int i = 0; i < size("num_hidden_layers"); i++) {
      String layer = "model.layers." + i + ".";
      shapes.put(layer + "input_layernorm.weight", List.of(hidden));
      shapes.put(layer + "self_attn.q_proj.weight", List.of(queries, hidden));
      shapes.put(layer + "self_attn.k_proj.weight", List.of(keys, hidden));
      shapes.put(layer + "self_attn.v_proj.weight", List.of(keys, hidden));
      shapes.put(layer + "self_attn.o_proj.weight", List.of(hidden, queries));
      if (this == QWEN2) {
        shapes.put(layer + "self_attn.q_proj.bias", List.of(queries));
        shapes.put(layer + "self_attn.k_proj.bias", List.of(keys));
        shapes.put(layer + "self_attn.v_proj.bias", List.of(keys));
      }
      if (this == QWEN3) {
        shapes.put(layer + "self_attn.q_norm.weight", List.of(width));
        shapes.put(layer + "self_attn.k_norm.weight", List.of(width));
      }
      shapes.put(layer + "post_attention_layernorm.weight", List.of(hidden));
      shapes.put(layer + "mlp.gate_proj.weight", List.of(inner, hidden));
      shapes.put(layer + "mlp.up_proj.weight", List.of(inner, hidden));
      shapes.put(layer + "mlp.down_proj.weight", List.of(hidden, inner));
    }
    shapes.put("model.norm.weight", List.of(hidden));
    if (!fields.path("tie_word_embeddings").asBoolean()) {
      shapes.put("lm_head.weight", List.of(264L, hidden));
    }
  }

  /** Matrices are [in, out]. */
  private void gpt2(Map<String, List<Long>> shapes, long hidden) {
    shapes.put("transformer.wte.weight", List.of(264L, hidden));
    shapes.put("transformer.wpe.weight", List.of(96L, hidden));
    for (int i = 0; i < size("n_layer"); i++) {
      String layer = "transformer.h." + i + ".";
      withBias(shapes, layer + "ln_1", List.of(hidden), hidden);
      withBias(shapes, layer + "attn.c_attn", List.of(hidden, 3 * hidden), 3 * hidden);
      withBias(shapes, layer + "attn.c_proj", List.of(hidden, hidden), hidden);
      withBias(shapes, layer + "ln_2", List.of(hidden), hidden);
      withBias(shapes, layer + "mlp.c_fc", List.of(hidden, 4 * hidden), 4 * hidden);
      withBias(shapes, layer + "mlp.c_proj", List.of(4 * hidden, hidden), hidden);
    }
    withBias(shapes, "transformer.ln_f", List.of(hidden), hidden);
  }

  private void neox(Map<String, List<Long>> shapes, long hidden, long inner) {
    shapes.put("gpt_neox.embed_in.weight", List.of(264L, hidden));
    for (int i = 0; i < size("num_hidden_layers"); i++) {
      String layer = "gpt_neox.layers." + i + ".";
      withBias(shapes, layer + "input_layernorm", List.of(hidden), hidden);
      withBias(shapes, layer + "post_attention_layernorm", List.of(hidden), hidden);
      withBias(
          shapes, layer + "attention.query_key_value", List.of(3 * hidden, hidden), 3 * hidden);
      withBias(shapes, layer + "attention.dense", List.of(hidden, hidden), hidden);
      withBias(shapes, layer + "mlp.dense_h_to_4h", List.of(inner, hidden), inner);
      withBias(shapes, layer + "mlp.dense_4h_to_h", List.of(hidden, inner), hidden);
    }
    withBias(shapes, "gpt_neox.final_layer_norm", List.of(hidden), hidden);
    shapes.put("embed_out.weight", List.of(264L, hidden));
  }

  private static void withBias(
      Map<String, List<Long>> shapes, String name, List<Long> weight, long bias) {
    shapes.put(name + ".weight", weight);
    shapes.put(name + ".bias", List.of(bias));
  }

  private static TensorSource draw(String name, SafetensorsType type, List<Long> shape) {
    Random random = new Random(name.hashCode());
    int count = Math.toIntExact(shape.stream().reduce(1L, Math::multiplyExact));
    boolean norm = shape.size() == 1 && name.endsWith(".weight");
    ByteBuffer bytes = ByteBuffer.allocate(count * type.bits() / 8).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      float value = (float) (0.3 * random.nextGaussian() + (norm ? 1 : 0));
      switch (type) {
        case F64 -> bytes.putDouble(value);
        case F32 -> bytes.putFloat(value);
        case F16 -> bytes.putShort(Float.floatToFloat16(value));
        case BF16 -> bytes.putShort((short) (Float.floatToIntBits(value) >> 16));
        default -> throw new IllegalArgumentException(type.toString());
      }
    }
    return TensorSource.of(name, type, shape, MemorySegment.ofArray(bytes.array()));
  }
}
