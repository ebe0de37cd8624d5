package org.eellm.convert;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.config.Architecture;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;

/**
 * Writes a model of ours as EE-LLM's training saves it: a file for each rank, with fused queries,
 * keys and values by groups, gate and up stacked, and layers counted within their stage. Rows of
 * float32 alone, in plain Java.
 */
final class MegatronWriter {
  private final Map<String, StoredTensor> ours;
  private final Architecture architecture;
  private final ModelConfig model;
  private final int tp;
  private final int pp;
  private final boolean preExit;

  private MegatronWriter(SourceModel source, int tp, int pp, boolean preExit) {
    ours = new TreeMap<>();
    source.tensors().forEach(t -> ours.put(t.name(), t.origins().getFirst().stored()));
    architecture = source.architecture();
    model = architecture.model();
    this.tp = tp;
    this.pp = pp;
    this.preExit = preExit;
  }

  static void write(SourceModel source, int tp, int pp, boolean preExit, Path folder)
      throws IOException {
    MegatronWriter writer = new MegatronWriter(source, tp, pp, preExit);
    for (int stage = 0; stage < pp; stage++) {
      for (int rank = 0; rank < tp; rank++) {
        String name =
            pp == 1 ? "mp_rank_%02d".formatted(rank) : "mp_rank_%02d_%03d".formatted(rank, stage);
        Map<String, Object> state = new LinkedHashMap<>();
        state.put("args", new PickleWriter.Namespace(writer.arguments()));
        state.put("iteration", 7);
        state.put("model", Map.of("language_model", writer.model(stage, rank)));
        PickleWriter.save(folder.resolve("iter_0000007/" + name + "/model_optim_rng.pt"), state);
      }
    }
    Files.writeString(folder.resolve("latest_checkpointed_iteration.txt"), "7");
  }

  private Map<String, Object> arguments() {
    Map<String, Object> args = new LinkedHashMap<>();
    args.put("num_layers", model.numLayers());
    args.put("hidden_size", model.hiddenSize());
    args.put("ffn_hidden_size", model.ffnHiddenSize());
    args.put("num_attention_heads", model.numHeads());
    args.put("group_query_attention", model.numKeyValueHeads() != model.numHeads());
    args.put("num_query_groups", model.numKeyValueHeads());
    args.put("kv_channels", model.headDim());
    args.put("max_position_embeddings", model.maxPositions());
    args.put("padded_vocab_size", model.vocabSize());
    args.put(
        "normalization", model.normalization() == Normalization.RMSNORM ? "RMSNorm" : "LayerNorm");
    args.put("norm_epsilon", model.normEpsilon());
    args.put(
        "position_embedding_type",
        model.positionEmbedding() == PositionEmbedding.ROPE ? "rope" : "learned_absolute");
    args.put("swiglu", model.activation() == Activation.SWIGLU);
    args.put("bias_gelu_fusion", false);
    args.put("add_bias_linear", model.linearBias());
    args.put("untie_embeddings_and_output_weights", !model.tieEmbeddings());
    args.put("attention_dropout", model.attentionDropout());
    args.put("init_method_std", model.initStd());
    args.put("tensor_model_parallel_size", tp);
    args.put("pipeline_model_parallel_size", pp);
    args.put("exit_layer_nums", exitLayers());
    args.put("pre_exit", preExit);
    args.put("use_exit_norm", architecture.exits().norm());
    args.put("use_exit_mlp", architecture.exits().mlp());
    args.put("use_exit_block", architecture.exits().block());
    args.put("untie_exit_output_weights", !architecture.exits().tieOutput());
    return args;
  }

  /** As the training names them: with {@code pre_exit}, the layers whose input they read. */
  private List<Integer> exitLayers() {
    return architecture.exits().layers().stream().map(n -> preExit ? n + 1 : n).toList();
  }

  private Map<String, Object> model(int stage, int rank) {
    int perStage = model.numLayers() / pp;
    Map<String, Object> encoder = new LinkedHashMap<>();
    Map<String, Object> heads = new LinkedHashMap<>();
    for (int i = 0; i < perStage; i++) {
      int layer = stage * perStage + i;
      boolean exits = exitLayers().contains(layer + 1);
      boolean branch = exits && architecture.exits().mlp();
      String to = "layers." + i + ".";
      layer(encoder, "model.layers." + layer + ".", to, branch ? "mlp.trunk." : "mlp.", rank);
      if (exits) {
        String from = "exits." + (preExit ? layer : layer + 1) + ".";
        if (branch) {
          mlp(encoder, from + "mlp.", to + "mlp.branch.", rank);
        }
        if (architecture.exits().block()) {
          layer(encoder, from + "block.", to + "exit_block.", "mlp.", rank);
        }
        if (architecture.exits().norm()) {
          whole(encoder, from + "norm", to + "exit_norm");
        }
        if (!architecture.exits().tieOutput()) {
          heads.put(heads.size() + ".weight", rows(from + "lm_head.weight", rank));
        }
      }
    }
    Map<String, Object> all = new LinkedHashMap<>();
    if (stage == 0) {
      Map<String, Object> embedding = new LinkedHashMap<>();
      embedding.put("word_embeddings", Map.of("weight", rows("model.embed_tokens.weight", rank)));
      if (model.positionEmbedding() == PositionEmbedding.LEARNED) {
        embedding.put(
            "position_embeddings", Map.of("weight", tensor("model.embed_positions.weight")));
      }
      all.put("embedding", embedding);
    }
    if (stage == pp - 1) {
      whole(encoder, "model.norm", "final_norm");
      if (!model.tieEmbeddings()) {
        all.put("output_layer", Map.of("weight", rows("lm_head.weight", rank)));
      }
    }
    all.put("encoder", encoder);
    if (!heads.isEmpty()) {
      all.put("exit_output_layer", heads);
    }
    return all;
  }

  private void layer(Map<String, Object> into, String from, String to, String mlp, int rank) {
    whole(into, from + "input_layernorm", to + "input_norm");
    String attention = from + "self_attn.";
    for (String part : List.of("weight", "bias")) {
      if (ours.containsKey(attention + "q_proj." + part)) {
        into.put(to + "self_attention.query_key_value." + part, fused(attention, part, rank));
      }
    }
    row(into, attention + "o_proj", to + "self_attention.dense", rank);
    whole(into, from + "post_attention_layernorm", to + "post_attention_norm");
    mlp(into, from + "mlp.", to + mlp, rank);
  }

  /** Group by group: the group's queries, its key, its value; of this rank's groups. */
  private StoredTensor fused(String from, String part, int rank) {
    int groups = model.numKeyValueHeads() / tp;
    int group = model.numHeads() / model.numKeyValueHeads();
    int d = model.headDim();
    List<StoredTensor> pieces = new ArrayList<>();
    for (int g = rank * groups; g < (rank + 1) * groups; g++) {
      pieces.add(slice(tensor(from + "q_proj." + part), (long) g * group * d, (long) group * d));
      pieces.add(slice(tensor(from + "k_proj." + part), (long) g * d, d));
      pieces.add(slice(tensor(from + "v_proj." + part), (long) g * d, d));
    }
    return below(pieces);
  }

  private void mlp(Map<String, Object> into, String from, String to, int rank) {
    for (String part : List.of("weight", "bias")) {
      if (ours.containsKey(from + "up_proj." + part)) {
        StoredTensor up = rows(from + "up_proj." + part, rank);
        into.put(
            to + "dense_h_to_4h." + part,
            model.activation() == Activation.SWIGLU
                ? below(List.of(rows(from + "gate_proj." + part, rank), up))
                : up);
      }
    }
    row(into, from + "down_proj", to + "dense_4h_to_h", rank);
  }

  /** A matrix split by columns, and its bias, whole. */
  private void row(Map<String, Object> into, String from, String to, int rank) {
    StoredTensor whole = tensor(from + ".weight");
    long rows = whole.shape().get(0);
    long columns = whole.shape().get(1);
    long own = columns / tp;
    MemorySegment part = MemorySegment.ofArray(new byte[(int) (rows * own * 4)]);
    for (long r = 0; r < rows; r++) {
      MemorySegment.copy(whole.bytes(), (r * columns + rank * own) * 4, part, r * own * 4, own * 4);
    }
    into.put(to + ".weight", new StoredTensor(SafetensorsType.F32, List.of(rows, own), part));
    if (ours.containsKey(from + ".bias")) {
      into.put(to + ".bias", tensor(from + ".bias"));
    }
  }

  private void whole(Map<String, Object> into, String from, String to) {
    for (String part : List.of(".weight", ".bias")) {
      if (ours.containsKey(from + part)) {
        into.put(to + part, tensor(from + part));
      }
    }
  }

  private StoredTensor tensor(String name) {
    StoredTensor tensor = ours.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException(name);
    }
    return tensor;
  }

  private StoredTensor rows(String name, int rank) {
    StoredTensor whole = tensor(name);
    long own = whole.shape().getFirst() / tp;
    return slice(whole, rank * own, own);
  }

  private static StoredTensor slice(StoredTensor whole, long first, long count) {
    List<Long> shape = new ArrayList<>(whole.shape());
    long row = whole.bytes().byteSize() / shape.getFirst();
    shape.set(0, count);
    return new StoredTensor(whole.type(), shape, whole.bytes().asSlice(first * row, count * row));
  }

  private static StoredTensor below(List<StoredTensor> parts) {
    List<Long> shape = new ArrayList<>(parts.getFirst().shape());
    shape.set(0, parts.stream().mapToLong(part -> part.shape().getFirst()).sum());
    MemorySegment all =
        MemorySegment.ofArray(
            new byte[(int) parts.stream().mapToLong(part -> part.bytes().byteSize()).sum()]);
    long at = 0;
    for (StoredTensor part : parts) {
      MemorySegment.copy(part.bytes(), 0, all, at, part.bytes().byteSize());
      at += part.bytes().byteSize();
    }
    return new StoredTensor(parts.getFirst().type(), shape, all);
  }
}
