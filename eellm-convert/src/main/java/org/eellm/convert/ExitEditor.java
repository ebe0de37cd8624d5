package org.eellm.convert;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.HeadFiles;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.ModelTensor.Origin;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.config.ModelConfig;
import org.eellm.config.SettingException;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterName.OfExit;
import org.eellm.model.parameter.ParameterName.OfFinalNorm;
import org.eellm.model.parameter.ParameterName.OfLayer;
import org.eellm.model.parameter.ParameterSpec;

/** Gives models exits and takes them away (EE-Tuning, arXiv 2402.00518, section 3.1). */
public final class ExitEditor {
  private ExitEditor() {}

  /** The weights that a new head starts from. */
  public enum Start {
    /**
     * The model's own modules: the final output matrix and norm, the exit layer's MLP, and as block
     * the last layer.
     */
    COPY,
    /** Initial values of training. */
    RANDOM
  }

  /**
   * The model with further exits; those it has stay as they are.
   *
   * @param added which, and what their heads are made of
   * @param seed of random values
   * @throws ConfigException if an exit is there already or beyond the model, or if the model's
   *     exits are of another kind
   */
  public static SourceModel add(SourceModel model, ExitLayout added, Start start, long seed) {
    Architecture architecture = model.architecture();
    ExitLayout present = architecture.exits();
    for (int layer : added.layers()) {
      if (present.layers().contains(layer)) {
        throw new SettingException(
            "exits",
            "the model has an exit after layer %d already; leave it out or remove it first"
                .formatted(layer));
      }
    }
    if (!present.layers().isEmpty() && !sameKind(present, added)) {
      throw new SettingException(
          "head",
          "the model's exits are %s, and all exits of a model are alike; ask for the same or remove them"
              .formatted(kind(present)));
    }
    Set<Integer> layers = new TreeSet<>(present.layers());
    layers.addAll(added.layers());
    if (start == Start.COPY) {
      requireCopies(added, architecture.model());
    }
    ExitLayout all = with(added, List.copyOf(layers));
    Architecture target = new Architecture(architecture.model(), all);
    List<ModelTensor> tensors = new ArrayList<>(model.tensors());
    Set<String> there = new HashSet<>();
    tensors.forEach(tensor -> there.add(tensor.name()));
    SafetensorsType type = model.tensor(ParameterName.TOKENS.toString()).type();
    for (ParameterSpec spec : ParameterSpec.of(target)) {
      if (!there.contains(spec.name())) {
        tensors.add(
            switch (start) {
              case COPY -> model.tensor(origin(spec.name(), target.model())).named(spec.name());
              case RANDOM -> ModelTensor.drawn(spec, target.model(), type, seed);
            });
      }
    }
    return model.withExits(all, tensors);
  }

  /** A head has one MLP, which cannot begin as the experts that its layer has. */
  private static void requireCopies(ExitLayout added, ModelConfig model) {
    boolean mlp = added.mlp() && added.layers().stream().anyMatch(n -> model.hasExperts(n - 1));
    boolean block = added.block() && model.hasExperts(model.numLayers() - 1);
    if (mlp || block) {
      throw new SettingException(
          "head",
          "%s has one MLP, which cannot be a copy of a layer's experts; use --init random, or norm"
              .formatted(kind(added)));
    }
  }

  /**
   * The model without some of its exits.
   *
   * @throws ConfigException if it does not have one of them
   */
  public static SourceModel remove(SourceModel model, List<Integer> layers) {
    ExitLayout present = model.architecture().exits();
    for (int layer : layers) {
      if (!present.layers().contains(layer)) {
        throw new SettingException(
            "remove",
            "the model has no exit after layer %d; it has %s"
                .formatted(layer, present.layers().isEmpty() ? "none" : present.layers()));
      }
    }
    List<Integer> kept = present.layers().stream().filter(n -> !layers.contains(n)).toList();
    List<ModelTensor> tensors =
        model.tensors().stream()
            .filter(tensor -> layers.stream().noneMatch(n -> tensor.name().startsWith(prefix(n))))
            .toList();
    return model.withExits(kept.isEmpty() ? ExitLayout.none() : with(present, kept), tensors);
  }

  /**
   * The model with the heads of a folder in place of its own exits. Closing it closes the heads'
   * files alone.
   *
   * @param heads a folder of heads, or the output of a run that tuned them
   * @throws CheckpointException if there are none, or they were made for another trunk
   */
  public static SourceModel replace(SourceModel model, Path heads) {
    ModelFolder files = new ModelFolder(model.folder(), Optional.empty()).withHeads(heads);
    files.requireTrunk();
    WeightFiles weights = WeightFiles.openHeads(files.heads().orElseThrow());
    List<ModelTensor> tensors = new ArrayList<>();
    model.tensors().stream()
        .filter(tensor -> !tensor.name().startsWith(HeadFiles.PREFIX))
        .forEach(tensors::add);
    weights
        .tensors()
        .forEach((name, stored) -> tensors.add(ModelTensor.copy(name, new Origin(name, stored))));
    try {
      return model
          .withExits(files.config().architecture().exits(), tensors, List.of(weights))
          .withCalibration(files.calibrationFolder());
    } catch (RuntimeException failure) {
      weights.close();
      throw failure;
    }
  }

  /** The parts of heads, in words. */
  public static String kind(ExitLayout exits) {
    List<String> parts = new ArrayList<>();
    if (exits.mlp()) {
      parts.add("mlp");
    }
    if (exits.block()) {
      parts.add("block");
    }
    if (exits.norm()) {
      parts.add("norm");
    }
    return (parts.isEmpty() ? "the output matrix alone" : String.join(",", parts))
        + (exits.tieOutput() ? ", tied" : "");
  }

  private static boolean sameKind(ExitLayout a, ExitLayout b) {
    return with(a, List.of()).equals(with(b, List.of()));
  }

  private static ExitLayout with(ExitLayout kind, List<Integer> layers) {
    return new ExitLayout(layers, kind.norm(), kind.mlp(), kind.block(), kind.tieOutput());
  }

  private static String prefix(int layer) {
    return ParameterName.exit(layer) + ".";
  }

  /** The trunk's module that a head's begins as. */
  private static String origin(String name, ModelConfig model) {
    if (!(ParameterName.parse(name) instanceof OfExit(int layer, String module, String part))) {
      throw new IllegalArgumentException(name + " is not of an exit");
    }
    ParameterName origin =
        switch (module) {
          case "lm_head" -> model.tieEmbeddings() ? ParameterName.TOKENS : ParameterName.OUTPUT;
          case "norm" -> new OfFinalNorm(part);
          case "mlp" -> new OfLayer(layer - 1, module + "." + part);
          case "block" -> new OfLayer(model.numLayers() - 1, part);
          default -> throw new IllegalArgumentException(name + " is of no module of a head");
        };
    return origin.toString();
  }
}
