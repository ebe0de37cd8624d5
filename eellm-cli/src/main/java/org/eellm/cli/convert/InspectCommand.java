package org.eellm.cli.convert;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.config.Architecture;
import org.eellm.config.Experts;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.LayerType;
import org.eellm.config.ModelConfig.NormPlacement;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.RopeScaling;
import org.eellm.convert.ExitEditor;
import org.eellm.convert.Inspection;
import org.eellm.convert.Inspection.TensorCheck;
import org.eellm.convert.ModelReader;
import org.eellm.cost.ParameterCount;
import org.eellm.file.IoErrors;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code eellm inspect}: what a model's files hold. */
@Command(
    name = "inspect",
    description =
        "Says what a model of any layout is: shapes, exits, parameters, number formats, and the"
            + " memory to serve and to train it.")
public final class InspectCommand extends EellmCommand {
  @Mixin private JsonOption json;

  @Parameters(paramLabel = "PATH", description = "What --model of eellm convert takes.")
  private Path path;

  @Option(
      names = "--check",
      description = "Read all values, too: checksums, and values that are NaN or infinite.")
  private boolean check;

  /** The report of {@code --json}. */
  record Report(
      String kind,
      ModelConfig model,
      Exits exits,
      Map<String, Long> parameters,
      long totalParameters,
      Map<SafetensorsType, Long> formats,
      long bytes,
      Memory memory,
      Optional<List<TensorCheck>> tensors) {}

  /** The exits; no layers if there are none. */
  record Exits(List<Integer> layers, String head, boolean tieOutput) {}

  /**
   * Bytes.
   *
   * @param context cache of one text as long as the model's context
   * @param training on one rank, without activations
   */
  record Memory(long serveWeights, long serveCachePerToken, long context, long training) {}

  @Override
  public Integer call() {
    try (SourceModel model = ModelReader.open(path)) {
      Inspection inspection = Inspection.of(model);
      List<TensorCheck> tensors = check ? Inspection.check(model) : List.of();
      if (json.requested()) {
        JsonOption.print(out(), report(inspection, tensors));
      } else {
        print(out(), inspection);
        if (check) {
          printChecks(out(), tensors);
        }
      }
      return ExitCode.OK;
    }
  }

  private Report report(Inspection inspection, List<TensorCheck> tensors) {
    Architecture architecture = inspection.architecture();
    return new Report(
        inspection.kind(),
        architecture.model(),
        new Exits(
            architecture.exits().layers(),
            ExitEditor.kind(architecture.exits()),
            architecture.exits().tieOutput()),
        inspection.parameters(),
        inspection.total(),
        inspection.formats(),
        inspection.bytes(),
        new Memory(
            inspection.weightBytes(),
            inspection.cacheBytesPerToken(),
            inspection.cacheBytesPerToken() * architecture.model().maxPositions(),
            inspection.trainingBytes()),
        check ? Optional.of(tensors) : Optional.empty());
  }

  private void print(PrintWriter out, Inspection inspection) {
    ModelConfig model = inspection.architecture().model();
    line(out, "kind", inspection.kind());
    line(
        out,
        "shape",
        "%d layers, hidden %d, inner %d, %d heads of %d, %d key/value heads, vocabulary %d, context %d"
            .formatted(
                model.numLayers(),
                model.hiddenSize(),
                model.ffnHiddenSize(),
                model.numHeads(),
                model.headDim(),
                model.numKeyValueHeads(),
                model.vocabSize(),
                model.maxPositions()));
    line(out, "parts", String.join(", ", parts(model)));
    List<Integer> exits = inspection.architecture().exits().layers();
    line(
        out,
        "exits",
        exits.isEmpty()
            ? "none"
            : "after layers %s; head: %s"
                .formatted(
                    exits.stream().map(String::valueOf).collect(Collectors.joining(", ")),
                    ExitEditor.kind(inspection.architecture().exits())));
    line(
        out,
        "parameters",
        "%,d: %s%s"
            .formatted(
                inspection.total(),
                inspection.parameters().entrySet().stream()
                    .map(
                        part ->
                            "%s %,d".formatted(part.getKey().replace('_', ' '), part.getValue()))
                    .collect(Collectors.joining(", ")),
                model.experts().count() == 0
                    ? ""
                    : "; a token's pass multiplies with %,d"
                        .formatted(ParameterCount.active(model))));
    line(
        out,
        "files",
        "%s in %s"
            .formatted(
                IoErrors.bytes(inspection.bytes()),
                inspection.formats().keySet().stream()
                    .map(SafetensorsType::name)
                    .collect(Collectors.joining(", "))));
    line(
        out,
        "to serve",
        "%s of weights in %s, and %s for a token's keys and values (%s for a text of %d)"
            .formatted(
                IoErrors.bytes(inspection.weightBytes()),
                name(model.dtype()),
                IoErrors.bytes(inspection.cacheBytesPerToken()),
                IoErrors.bytes(inspection.cacheBytesPerToken() * model.maxPositions()),
                model.maxPositions()));
    if (inspection.trainingBytes() > 0) {
      line(
          out,
          "to train",
          "%s on one rank, without activations (eellm plan tells all)"
              .formatted(IoErrors.bytes(inspection.trainingBytes())));
    }
  }

  /** The parts that tell the model from others, in words. */
  private static List<String> parts(ModelConfig model) {
    List<String> parts = new ArrayList<>();
    parts.add(name(model.normalization()) + (model.zeroCenteredNorm() ? " around 1" : ""));
    if (model.normPlacement() != NormPlacement.BEFORE) {
      parts.add("norms %s branches".formatted(name(model.normPlacement())));
    }
    parts.add(name(model.positionEmbedding()) + scaling(model.ropeScaling()));
    if (model.rotaryFraction() < 1) {
      parts.add(
          "%d of a head's %d rotated".formatted(model.positions().rotaryDim(), model.headDim()));
    }
    addLayers(parts, model, LayerType.SLIDING, "a window of " + model.slidingWindow());
    if (model.slidingRopeTheta() > 0) {
      parts.add("rope of its own there");
    }
    addLayers(parts, model, LayerType.NO_POSITIONS, "no positions");
    parts.add(name(model.activation()));
    if (model.experts().count() > 0) {
      Experts experts = model.experts();
      parts.add(
          "%d of %d experts of inner %d in %d layers"
              .formatted(
                  experts.perToken(),
                  experts.count(),
                  experts.hiddenSize(),
                  model.layersWithExperts(0, model.numLayers())));
    }
    Map<String, Boolean> flags = new LinkedHashMap<>();
    flags.put("parallel residuals", model.residual() == Residual.PARALLEL);
    flags.put("biases", model.linearBias());
    flags.put("biases of queries, keys and values", model.qkvBias());
    flags.put("biases of attention", model.attentionBias());
    flags.put("norms of each head's query and key", model.qkNorm());
    flags.put("norms of all queries and of all keys", model.qkNormWhole());
    flags.put("scaled scores", model.attention(0).scale() != 1 / Math.sqrt(model.headDim()));
    flags.put("capped scores", model.attentionSoftcap() > 0);
    flags.put("scaled embeddings", model.embeddingScale() != 1);
    flags.put("scaled residuals", model.residualScale() != 1);
    flags.put("scaled logits", model.logitScale() != 1);
    flags.put("capped logits", model.logitSoftcap() > 0);
    flags.put("output matrix tied", model.tieEmbeddings());
    flags.forEach((part, there) -> parts.addAll(there ? List.of(part) : List.of()));
    return parts;
  }

  private static String scaling(RopeScaling scaling) {
    return scaling instanceof RopeScaling.None
        ? ""
        : " scaled by " + scaling.getClass().getSimpleName().toLowerCase(Locale.ROOT);
  }

  private static void addLayers(
      List<String> parts, ModelConfig model, LayerType type, String what) {
    int count = Collections.frequency(model.eachLayerType(), type);
    if (count > 0) {
      parts.add("%s in %d layers".formatted(what, count));
    }
  }

  private static void printChecks(PrintWriter out, List<TensorCheck> tensors) {
    List<TensorCheck> bad = tensors.stream().filter(tensor -> tensor.notFinite() > 0).toList();
    line(
        out,
        "values",
        bad.isEmpty()
            ? "all of %d tensors are finite".formatted(tensors.size())
            : "%d of %d tensors hold values that are NaN or infinite"
                .formatted(bad.size(), tensors.size()));
    for (TensorCheck tensor : bad) {
      line(out, "", "%s: %d values".formatted(tensor.name(), tensor.notFinite()));
    }
    for (TensorCheck tensor : tensors) {
      out.printf("%s  %s %s %s%n", tensor.sha256(), tensor.name(), tensor.type(), tensor.shape());
    }
  }

  private static String name(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  private static void line(PrintWriter out, String name, String text) {
    out.printf("%-11s %s%n", name, text);
  }
}
