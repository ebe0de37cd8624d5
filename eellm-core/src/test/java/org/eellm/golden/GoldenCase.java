package org.eellm.golden;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.StreamSupport;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.config.Architecture;
import org.eellm.config.HeadId;
import org.eellm.config.ModelConfig;
import org.eellm.model.Decoder;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;

/**
 * A case of {@code src/test/resources/golden}: a model, inputs, and exact results of an independent
 * float64 oracle.
 */
public final class GoldenCase {
  public static final List<String> NAMES =
      List.of(
          "llama_embedding",
          "llama_norm_tied",
          "llama_mlp_norm",
          "llama_block_norm",
          "gpt_norm_tied",
          "llama_last_stage_exit",
          "llama_mlp_block_gqa",
          "gpt_mlp_block_own",
          "qwen_block_norm",
          "neox_norm_tied",
          "llama_norm_shared",
          "neox_parallel_mlp",
          "neox_parallel_block",
          "gemma2_like",
          "gemma3_like",
          "olmo2_like",
          "olmo3_like",
          "granite_like",
          "smollm3_like",
          "phi_like");

  private final Path folder;
  private final JsonNode expected;

  private GoldenCase(Path folder) {
    this.folder = folder;
    try {
      expected = new ObjectMapper().readTree(folder.resolve("expected.json").toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  public static GoldenCase named(String name) {
    return new GoldenCase(Resources.folder("/golden/" + name + "/config.json"));
  }

  public Path folder() {
    return folder;
  }

  /** The parsed {@code expected.json}. */
  public JsonNode expected() {
    return expected;
  }

  /** Number of trained microbatches. */
  public int microbatches() {
    return expected.get("training").get("microbatches").asInt();
  }

  public Architecture architecture() {
    return HuggingFaceConfig.read(folder).architecture();
  }

  /** The model with its initial parameters. */
  public Decoder model() {
    return load(architecture());
  }

  /** The same, with attention and hidden dropout of a probability. */
  public Decoder withDropout(double probability) {
    return load(droppingArchitecture(probability));
  }

  /** The case's shape, with attention and hidden dropout of a probability. */
  public Architecture droppingArchitecture(double probability) {
    ModelConfig model = architecture().model();
    ModelConfig dropping =
        model.toBuilder().hiddenDropout(probability).attentionDropout(probability).build();
    return new Architecture(dropping, architecture().exits());
  }

  /** A model of this shape with the case's initial parameters. */
  public Decoder load(Architecture architecture) {
    Decoder model = load(Decoder.allocate(architecture, Torch.cpu()));
    Map<String, StoredTensor> stored = tensors("model.safetensors");
    if (stored.size() != model.parameters().all().size()) {
      throw new IllegalStateException(stored.keySet() + " are not " + model.parameters().all());
    }
    return model;
  }

  /** Gives a model, or a rank's part of it, the case's initial parameters. */
  public Decoder load(Decoder model) {
    Map<String, StoredTensor> stored = tensors("model.safetensors");
    TensorParallel parallel = model.parameters().tensorParallel();
    try (Scope scope = Scope.open()) {
      for (Parameter parameter : model.parameters().all()) {
        Tensor whole = tensor(stored.get(parameter.name()));
        parameter.value().copy_(parameter.split().shard(whole, parallel.rank(), parallel.size()));
      }
    }
    return model;
  }

  /** The tensors of one of the case's files, mapped for the life of the test. */
  public Map<String, StoredTensor> tensors(String file) {
    return SafetensorsFile.open(folder.resolve(file)).tensors();
  }

  /** A stored float32 tensor. */
  public static Tensor tensor(StoredTensor stored) {
    return Tensors.view(
        stored.bytes(),
        ScalarType.Float,
        stored.shape().stream().mapToLong(Long::longValue).toArray());
  }

  /** A stored float32 tensor's values. */
  public static float[] floats(StoredTensor stored) {
    return stored.bytes().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
  }

  public List<Microbatch> inputs() {
    Map<String, StoredTensor> inputs = tensors("inputs.safetensors");
    long[] tokens = inputs.get("tokens").bytes().toArray(ValueLayout.JAVA_LONG_UNALIGNED);
    float[] mask = floats(inputs.get("loss_mask"));
    int batch = inputs.get("tokens").shape().get(1).intValue();
    int sequence = inputs.get("tokens").shape().get(2).intValue() - 1;
    List<Microbatch> all = new ArrayList<>();
    for (int m = 0; m < microbatches(); m++) {
      int[] from = new int[batch * sequence];
      int[] to = new int[batch * sequence];
      float[] weights = new float[batch * sequence];
      for (int b = 0; b < batch; b++) {
        for (int s = 0; s < sequence; s++) {
          int token = (m * batch + b) * (sequence + 1) + s;
          from[b * sequence + s] = (int) tokens[token];
          to[b * sequence + s] = (int) tokens[token + 1];
          weights[b * sequence + s] = mask[(m * batch + b) * sequence + s];
        }
      }
      all.add(new Microbatch(batch, sequence, from, to, weights, new int[batch * sequence]));
    }
    return all;
  }

  /** The case's objective: its exit weights, 1 for the final head. */
  public Objective objective() {
    JsonNode training = expected.get("training");
    List<Double> weights = new ArrayList<>();
    for (int layer : architecture().exits().layers()) {
      weights.add(training.get("exit_weights").get(String.valueOf(layer)).asDouble());
    }
    weights.add(1.0);
    return new Objective(
        weights,
        weights.stream().map(weight -> 1.0).toList(),
        training.get("dynamic_exit_weight").asBoolean(),
        0);
  }

  /** The oracle's name of a head: {@code exit_2} is {@code exit.2}. */
  public static String oracleName(HeadId head) {
    return head.toString().replace('_', '.');
  }

  /** A tolerance of {@code suggested_tolerance}. */
  public double tolerance(String name) {
    return expected.get("suggested_tolerance").get(name).asDouble();
  }

  /** A JSON array of numbers. */
  public static double[] doubles(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false)
        .mapToDouble(JsonNode::asDouble)
        .toArray();
  }
}
