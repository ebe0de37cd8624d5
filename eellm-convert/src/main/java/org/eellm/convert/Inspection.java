package org.eellm.convert;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.HeadId;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ParallelConfig;
import org.eellm.config.SettingException;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterSpec;

/**
 * The contents of a model's files, and the memory that the model needs.
 *
 * @param kind what the files are
 * @param parameters how many there are of each part: {@code embedding}, {@code layers}, {@code
 *     final_head} and {@code exit_{n}}; a tied matrix counts once, with the embedding
 * @param formats how many values are stored in each number format
 * @param bytes that the tensors take in the files
 * @param weightBytes that the parameters take in memory, in the format that the model computes in
 * @param cacheBytesPerToken that keys and values of a position take in generation
 */
public record Inspection(
    String kind,
    Architecture architecture,
    Map<String, Long> parameters,
    Map<SafetensorsType, Long> formats,
    long bytes,
    long weightBytes,
    long cacheBytesPerToken) {

  public Inspection {
    parameters = Collections.unmodifiableMap(new LinkedHashMap<>(parameters));
    formats = Collections.unmodifiableMap(new TreeMap<>(formats));
  }

  /** Looks at a model's shapes; reads none of its numbers. */
  public static Inspection of(SourceModel model) {
    Architecture architecture = model.architecture();
    Map<SafetensorsType, Long> formats = new TreeMap<>();
    for (ModelTensor tensor : model.tensors()) {
      formats.merge(tensor.type(), tensor.numel(), Long::sum);
    }
    Map<String, Long> parameters = parameters(architecture);
    long count = parameters.values().stream().mapToLong(Long::longValue).sum();
    return new Inspection(
        model.kind(),
        architecture,
        parameters,
        formats,
        model.byteSize(),
        count * width(architecture.model()),
        cacheBytesPerToken(architecture));
  }

  /** All parameters. */
  public long total() {
    return parameters.values().stream().mapToLong(Long::longValue).sum();
  }

  private static Map<String, Long> parameters(Architecture architecture) {
    Map<String, Long> counts = new LinkedHashMap<>();
    for (String part : List.of("embedding", "layers", "final_head")) {
      counts.put(part, 0L);
    }
    architecture.exits().layers().forEach(layer -> counts.put(HeadId.exit(layer).toString(), 0L));
    for (ParameterSpec spec : ParameterSpec.of(architecture)) {
      counts.merge(part(spec.name()), spec.numel(), Long::sum);
    }
    return counts;
  }

  private static String part(String name) {
    return switch (ParameterName.parse(name)) {
      case ParameterName.Embedding _ -> "embedding";
      case ParameterName.OfLayer _ -> "layers";
      case ParameterName.OfFinalNorm _, ParameterName.OutputMatrix _ -> "final_head";
      case ParameterName.OfExit exit -> HeadId.exit(exit.layer()).toString();
      case ParameterName.OfDraftHead _ -> HeadId.DRAFT_HEAD.toString();
    };
  }

  private static int width(ModelConfig model) {
    return model.dtype() == DataType.BFLOAT16 ? Short.BYTES : Float.BYTES;
  }

  /** Keys and values of all layers and of the exits' blocks. */
  private static long cacheBytesPerToken(Architecture architecture) {
    ModelConfig model = architecture.model();
    long attentions =
        model.numLayers()
            + (architecture.exits().block() ? architecture.exits().layers().size() : 0);
    return 2L * attentions * model.numKeyValueHeads() * model.headDim() * width(model);
  }

  /**
   * The memory that a rank of a stage needs to train its part: weights, float32 gradients, and its
   * share of AdamW's state, shared out over {@code dp}. Activations come on top.
   *
   * @param stage from 0
   * @param layers the first and the last layer here, from 1
   */
  public record StageMemory(int stage, List<Integer> layers, long parameters, long bytes) {
    public StageMemory {
      layers = List.copyOf(layers);
    }
  }

  /**
   * The memory that training takes on each stage's ranks; of none where experts do not learn.
   *
   * @throws ConfigException if the mesh cannot share out the model
   */
  public List<StageMemory> training(int tp, int dp, int pp) {
    ModelConfig model = architecture.model();
    if (model.experts().count() > 0) {
      return List.of();
    }
    Map<String, Integer> shared = new LinkedHashMap<>();
    shared.put("heads", model.numHeads());
    shared.put("key/value heads", model.numKeyValueHeads());
    shared.put("inner dimensions", model.ffnHiddenSize());
    shared.put("vocabulary entries", model.vocabSize());
    shared.forEach(
        (what, count) -> {
          if (count % tp != 0) {
            throw new SettingException(
                "tp",
                "%d does not divide the model's %d %s; use a divisor".formatted(tp, count, what));
          }
        });
    List<Slice> slices =
        StageLayout.of(
                architecture,
                ParallelConfig.of(tp, dp, pp),
                model.maxPositions(),
                Learning.EVERYTHING)
            .slices();
    List<StageMemory> stages = new ArrayList<>();
    for (int stage = 0; stage < slices.size(); stage++) {
      Slice slice = slices.get(stage);
      long count =
          ParameterSpec.of(architecture, List.of(slice)).stream()
              .mapToLong(spec -> spec.shardNumel(tp))
              .sum();
      stages.add(
          new StageMemory(
              stage,
              List.of(slice.firstLayer() + 1, slice.endLayer()),
              count,
              trainingBytes(count, dp)));
    }
    return stages;
  }

  private long trainingBytes(long count, int dp) {
    boolean narrow = architecture.model().dtype() == DataType.BFLOAT16;
    long
        sharedOut = // two moments, master weights beside bfloat16, and the share of the sum over dp
        Float.BYTES * (2 + (narrow ? 1 : 0) + (dp > 1 ? 1 : 0));
    return count * (width(architecture.model()) + Float.BYTES) + count * sharedOut / dp;
  }

  /**
   * A tensor's checksum and its values that are not finite, from reading all of them.
   *
   * @param sha256 of its values, as they are stored or assembled
   * @param notFinite how many are NaN or infinite
   */
  public record TensorCheck(
      String name, SafetensorsType type, List<Long> shape, String sha256, long notFinite) {
    public TensorCheck {
      shape = List.copyOf(shape);
    }
  }

  /** Reads all values of a model. */
  public static List<TensorCheck> check(SourceModel model) {
    List<TensorCheck> checks = new ArrayList<>();
    for (ModelTensor tensor : model.tensors()) {
      checks.add(
          new TensorCheck(
              tensor.name(), tensor.type(), tensor.shape(), tensor.sha256(), tensor.notFinite()));
    }
    return checks;
  }
}
