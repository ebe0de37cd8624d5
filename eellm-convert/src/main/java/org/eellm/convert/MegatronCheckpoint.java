package org.eellm.convert;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.ModelTensor.Assembly;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.huggingface.family.Place;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.convert.Pickled.Dict;
import org.eellm.convert.Pickled.TensorView;
import org.eellm.convert.Pickled.Text;
import org.eellm.file.InputFiles;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * A checkpoint of Megatron-LM's GPT or of EE-LLM: a file for each tensor- and pipeline-parallel
 * rank, {@code iter_0001000/mp_rank_00_000/model_optim_rng.pt}, whose parts are merged here.
 */
final class MegatronCheckpoint {
  private static final String TRACKER = "latest_checkpointed_iteration.txt";
  private static final String FILE = "model_optim_rng.pt";
  private static final String EMBEDDING = "embedding.word_embeddings.weight";
  private static final Pattern RANK = Pattern.compile("mp_rank_(\\d{2})(?:_(\\d{3}))?");

  /** A rank's tensors, by their path in the model's nested dictionaries. */
  private record Rank(PyTorchFile file, Map<String, StoredTensor> tensors) {}

  private final Path folder;
  private final MegatronArguments arguments;
  private final ModelConfig model;
  private final HuggingFaceConfig config;
  private final int tp;
  private final int pp;
  private final Rank[][] ranks; // [stage][tensor-parallel rank]
  private final List<ModelTensor> tensors = new ArrayList<>();

  private MegatronCheckpoint(
      Path folder, MegatronArguments arguments, int tp, int pp, Rank[][] ranks) {
    this.folder = folder;
    this.arguments = arguments;
    this.tp = tp;
    this.pp = pp;
    this.ranks = ranks;
    StoredTensor embedding = ranks[0][0].tensors().get(EMBEDDING);
    config =
        arguments.config(
            embedding != null && embedding.type() == SafetensorsType.BF16
                ? DataType.BFLOAT16
                : DataType.FLOAT32);
    model = config.architecture().model();
  }

  /** Whether a folder has such a checkpoint, or is one. */
  static boolean isOne(Path path) {
    return ModelFiles.has(path, TRACKER) || !rankFolders(path).isEmpty();
  }

  /**
   * Opens a checkpoint, or the newest of a folder of them.
   *
   * @throws CheckpointException if a rank's file is missing, damaged or of another model, or the
   *     model cannot be honoured
   */
  static SourceModel open(Path path) {
    Path folder = rankFolders(path).isEmpty() ? newest(path) : path;
    Map<String, Path> found = rankFolders(folder);
    if (found.isEmpty()) {
      throw new CheckpointException(
          "%s: has no mp_rank_* folders; copy the whole checkpoint".formatted(folder));
    }
    List<PyTorchFile> files = new ArrayList<>();
    try {
      PyTorchFile first = open(found.values().iterator().next(), files);
      MegatronArguments arguments = arguments(first);
      int tp = arguments.tensorParallel();
      int pp = arguments.pipelineParallel();
      if ((long) tp * pp > 4096) {
        throw new CheckpointException(
            "%s: %d x %d ranks are beyond any such checkpoint".formatted(folder, tp, pp));
      }
      Rank[][] ranks = new Rank[pp][tp];
      for (int stage = 0; stage < pp; stage++) {
        for (int rank = 0; rank < tp; rank++) {
          ranks[stage][rank] = rank(folder, found, name(stage, rank, pp), pp, first, files);
        }
      }
      MegatronCheckpoint checkpoint = new MegatronCheckpoint(folder, arguments, tp, pp, ranks);
      return checkpoint.model(files);
    } catch (RuntimeException failure) {
      files.forEach(PyTorchFile::close);
      throw failure;
    }
  }

  private static Path newest(Path path) {
    Path tracker = ModelFiles.file(path, TRACKER);
    String text;
    try {
      text = InputFiles.text(tracker, 64).strip();
    } catch (IOException failure) {
      throw CheckpointException.unreadable(tracker, failure);
    }
    if (text.equals("release")) {
      return path.resolve("release");
    }
    if (!text.matches("\\d{1,9}")) {
      throw new CheckpointException(
          "%s: holds no iteration; give the folder iter_* itself".formatted(tracker));
    }
    return path.resolve(String.format(Locale.ROOT, "iter_%07d", Integer.parseInt(text)));
  }

  /** The ranks' folders by name. */
  private static Map<String, Path> rankFolders(Path folder) {
    Map<String, Path> found = new TreeMap<>();
    if (!Files.isDirectory(folder)) {
      return found;
    }
    try (Stream<Path> children = Files.list(folder)) {
      children
          .filter(child -> RANK.matcher(child.getFileName().toString()).matches())
          .forEach(child -> found.put(child.getFileName().toString(), child));
      return found;
    } catch (IOException failure) {
      throw CheckpointException.unreadable(folder, failure);
    }
  }

  private static PyTorchFile open(Path folder, List<PyTorchFile> files) {
    PyTorchFile file = PyTorchFile.open(ModelFiles.file(folder, FILE));
    files.add(file);
    return file;
  }

  private static MegatronArguments arguments(PyTorchFile file) {
    if (file.root() instanceof Dict root
        && root.find("args").orElse(root) instanceof Dict arguments
        && arguments != root) {
      return new MegatronArguments(file.path().toString(), arguments);
    }
    throw new CheckpointException(
        file.path() + ": has no args; a checkpoint that Megatron itself saved is read");
  }

  private static String name(int stage, int rank, int pp) {
    return pp == 1
        ? String.format(Locale.ROOT, "mp_rank_%02d", rank)
        : String.format(Locale.ROOT, "mp_rank_%02d_%03d", rank, stage);
  }

  private static Rank rank(
      Path folder,
      Map<String, Path> found,
      String name,
      int pp,
      PyTorchFile first,
      List<PyTorchFile> files) {
    Path place = found.get(name);
    if (place == null) {
      throw new CheckpointException(
          "%s: is missing, though the training had %d stages; copy the whole checkpoint"
              .formatted(folder.resolve(name), pp));
    }
    PyTorchFile file = first.path().startsWith(place) ? first : open(place, files);
    Map<String, StoredTensor> tensors = new HashMap<>();
    if (file.root() instanceof Dict root && root.find("model").orElse(root) instanceof Dict own) {
      Dict language = own.find("language_model").orElse(own) instanceof Dict nested ? nested : own;
      flatten("", language, file, tensors, Collections.newSetFromMap(new IdentityHashMap<>()));
    }
    if (tensors.isEmpty()) {
      throw new CheckpointException(file.path() + ": has no model.language_model");
    }
    return new Rank(file, tensors);
  }

  /**
   * Nested dictionaries of tensors by their keys, joined with dots.
   *
   * @param seen the dictionaries so far, by identity
   */
  private static void flatten(
      String prefix, Dict dict, PyTorchFile file, Map<String, StoredTensor> into, Set<Dict> seen) {
    if (!seen.add(dict)) {
      throw new CheckpointException(file.path() + ": a dictionary of the model is in two places");
    }
    dict.entries()
        .forEach(
            (key, value) -> {
              if (key instanceof Text(String name)) {
                switch (value) {
                  case TensorView view -> into.put(prefix + name, view.stored(file.arena()));
                  case Dict inner -> flatten(prefix + name + ".", inner, file, into, seen);
                  default -> {} // such as a module's extra state
                }
              }
            });
  }

  private SourceModel model(List<PyTorchFile> files) {
    int layers = model.numLayers();
    if (layers % pp != 0) {
      throw new CheckpointException(
          "%s: %d layers do not divide into %d stages".formatted(folder, layers, pp));
    }
    add(0, EMBEDDING, "model.embed_tokens.weight", Tensors::concatenate, vocabulary());
    if (model.positionEmbedding() == PositionEmbedding.LEARNED) {
      whole(
          0,
          "embedding.position_embeddings.weight",
          "model.embed_positions.weight",
          List.of((long) model.maxPositions(), (long) model.hiddenSize()));
    }
    int perStage = layers / pp;
    List<Integer> named = arguments.exitLayers();
    for (int layer = 0; layer < layers; layer++) {
      int stage = layer / perStage;
      String from = "encoder.layers." + layer % perStage + ".";
      boolean exits = named.contains(layer + 1);
      boolean branch = exits && config.architecture().exits().mlp();
      layer(stage, from, from + (branch ? "mlp.trunk." : "mlp."), "model.layers." + layer + ".");
      if (exits) {
        exit(stage, from, layer + 1, exitIndex(named, stage, perStage, layer + 1));
      }
    }
    norm(pp - 1, "encoder.final_norm", "model.norm");
    if (!model.tieEmbeddings()) {
      add(pp - 1, "output_layer.weight", "lm_head.weight", Tensors::concatenate, vocabulary());
    }
    return new SourceModel(
        "Megatron checkpoint, tensor parallel %d, pipeline parallel %d".formatted(tp, pp),
        folder,
        config,
        config.config(),
        false,
        tensors,
        files,
        Optional.empty());
  }

  /** The place of an exit among those of its stage. */
  private static int exitIndex(List<Integer> named, int stage, int perStage, int layer) {
    return (int) named.stream().filter(n -> (n - 1) / perStage == stage && n < layer).count();
  }

  private void exit(int stage, String from, int layer, int index) {
    String to = HeadFiles.PREFIX + (layer - (arguments.preExit() ? 1 : 0)) + ".";
    ExitLayout exits = config.architecture().exits();
    if (exits.mlp()) {
      mlp(stage, from + "mlp.branch.", to + "mlp.");
    }
    if (exits.block()) {
      layer(stage, from + "exit_block.", from + "exit_block.mlp.", to + "block.");
    }
    if (exits.norm()) {
      norm(stage, from + "exit_norm", to + "norm");
    }
    if (arguments.exitsShareEmbedding() && !exits.tieOutput()) {
      add(0, EMBEDDING, to + "lm_head.weight", Tensors::concatenate, vocabulary());
    } else if (!exits.tieOutput()) {
      add(
          stage,
          "exit_output_layer." + index + ".weight",
          to + "lm_head.weight",
          Tensors::concatenate,
          vocabulary());
    }
  }

  private void layer(int stage, String from, String mlp, String to) {
    norm(stage, from + "input_norm", to + "input_layernorm");
    attention(stage, from + "self_attention.", to + "self_attn.");
    norm(stage, from + "post_attention_norm", to + "post_attention_layernorm");
    mlp(stage, mlp, to + "mlp.");
  }

  private void norm(int stage, String from, String to) {
    List<Long> width = List.of((long) model.hiddenSize());
    whole(stage, from + ".weight", to + ".weight", width);
    if (model.normalization() == Normalization.LAYERNORM) {
      whole(stage, from + ".bias", to + ".bias", width);
    }
  }

  private void attention(int stage, String from, String to) {
    long h = model.hiddenSize();
    long query = (long) model.numHeads() * model.headDim();
    long keyValue = (long) model.numKeyValueHeads() * model.headDim();
    List<String> names = List.of("q_proj", "k_proj", "v_proj");
    for (int i = 0; i < names.size(); i++) {
      int part = i;
      long rows = i == 0 ? query : keyValue;
      String name = to + names.get(i);
      add(
          stage,
          from + "query_key_value.weight",
          name + ".weight",
          all -> part(Tensors.concatenate(all), part).reshape(rows, h),
          List.of(rows, h),
          List.of((query + 2 * keyValue) / tp, h));
      if (model.linearBias()) {
        add(
            stage,
            from + "query_key_value.bias",
            name + ".bias",
            all -> part(Tensors.concatenate(all).view(-1, 1), part).reshape(rows),
            List.of(rows),
            List.of((query + 2 * keyValue) / tp));
      }
    }
    add(
        stage,
        from + "dense.weight",
        to + "o_proj.weight",
        MegatronCheckpoint::columns,
        List.of(h, query),
        List.of(h, query / tp));
    if (model.linearBias()) {
      whole(stage, from + "dense.bias", to + "o_proj.bias", List.of(h));
    }
  }

  /**
   * Queries (0), keys (1) or values (2) of a matrix whose rows are, group by group, the group's
   * query heads, its key head and its value head.
   *
   * @param fused [groups (group + 2) D, width]
   * @return [heads, D, width]
   */
  private Tensor part(Tensor fused, int part) {
    long groups = model.numKeyValueHeads();
    long group = model.numHeads() / groups;
    long d = model.headDim();
    long width = fused.size(1);
    Tensor heads = fused.view(groups, group + 2, d, width);
    Tensor own =
        part == 0
            ? heads.narrow(1, 0, group).reshape(groups * group, d, width)
            : heads.select(1, group + part - 1);
    if (part == 2) {
      return own;
    }
    long[] order = Place.pairOrder(model);
    return own.index_select(1, Tensors.ofLongs(order, Torch.cpu(), order.length));
  }

  private void mlp(int stage, String from, String to) {
    long h = model.hiddenSize();
    long ffn = model.ffnHiddenSize();
    boolean gated = model.activation() == Activation.SWIGLU;
    long stacked = (gated ? 2 : 1) * ffn / tp;
    String up = from + "dense_h_to_4h";
    for (int half = 0; half < (gated ? 2 : 1); half++) {
      String name = to + (gated && half == 0 ? "gate_proj" : "up_proj");
      int start = half;
      add(
          stage,
          up + ".weight",
          name + ".weight",
          all -> half(all, start),
          List.of(ffn, h),
          List.of(stacked, h));
      if (model.linearBias()) {
        add(
            stage,
            up + ".bias",
            name + ".bias",
            all -> half(all, start),
            List.of(ffn),
            List.of(stacked));
      }
    }
    add(
        stage,
        from + "dense_4h_to_h.weight",
        to + "down_proj.weight",
        MegatronCheckpoint::columns,
        List.of(h, ffn),
        List.of(h, ffn / tp));
    if (model.linearBias()) {
      whole(stage, from + "dense_4h_to_h.bias", to + "down_proj.bias", List.of(h));
    }
  }

  /** Of each rank's stacked gate and up, or of its up alone, one half; all ranks' below another. */
  private Tensor half(List<Tensor> parts, int half) {
    long rows = model.ffnHiddenSize() / tp;
    return Tensors.concatenate(
        parts.stream().map(part -> part.narrow(0, half * rows, rows)).toList());
  }

  private static Tensor columns(List<Tensor> parts) {
    return parts.size() == 1
        ? parts.getFirst()
        : torch.cat(new TensorVector(parts.toArray(Tensor[]::new)), 1);
  }

  private List<Long> vocabulary() {
    return List.of((long) model.vocabSize(), (long) model.hiddenSize());
  }

  /** A parameter whose rows the tensor-parallel ranks share. */
  private void add(int stage, String from, String to, Assembly assembly, List<Long> shape) {
    List<Long> part = new ArrayList<>(shape);
    part.set(0, shape.getFirst() / tp);
    add(stage, from, to, assembly, shape, part);
  }

  /**
   * A parameter that is made of all tensor-parallel ranks' parts.
   *
   * @param part shape of each
   */
  private void add(
      int stage, String from, String to, Assembly assembly, List<Long> shape, List<Long> part) {
    List<Origin> origins = new ArrayList<>();
    for (int rank = 0; rank < tp; rank++) {
      origins.add(origin(stage, rank, from, part));
    }
    tensors.add(
        tp == 1 && part.equals(shape) && isPlain(from)
            ? ModelTensor.copy(to, origins.getFirst())
            : ModelTensor.assembled(to, shape, origins, assembly));
  }

  /** Whether one rank's part is the parameter itself. */
  private static boolean isPlain(String from) {
    return !from.contains("query_key_value");
  }

  /** A parameter that every tensor-parallel rank has whole. */
  private void whole(int stage, String from, String to, List<Long> shape) {
    Origin own = origin(stage, 0, from, shape);
    for (int rank = 1; rank < tp; rank++) {
      if (!ModelTensor.equalBytes(own.stored(), origin(stage, rank, from, shape).stored())) {
        throw new CheckpointException(
            "%s: %s differs between tensor-parallel ranks 0 and %d, which hold it whole"
                .formatted(ranks[stage][rank].file().path(), from, rank));
      }
    }
    tensors.add(ModelTensor.copy(to, own));
  }

  private Origin origin(int stage, int rank, String name, List<Long> shape) {
    Rank place = ranks[stage][rank];
    StoredTensor stored =
        Optional.ofNullable(place.tensors().get(name))
            .orElseThrow(
                () ->
                    new CheckpointException(
                        "%s: lacks %s; copy the whole checkpoint"
                            .formatted(place.file().path(), name)));
    if (!stored.shape().equals(shape)) {
      throw new CheckpointException(
          "%s: %s has shape %s, but %s follows from args"
              .formatted(place.file().path(), name, stored.shape(), shape));
    }
    return new Origin(folder.relativize(place.file().path()) + ":" + name, stored);
  }
}
