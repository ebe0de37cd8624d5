package org.eellm.cli.convert;

import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.LayerList;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.config.ExitsConfig.HeadPart;
import org.eellm.convert.ExitEditor;
import org.eellm.convert.ExitEditor.Start;
import org.eellm.convert.ModelReader;
import org.eellm.convert.ModelWriter;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.convert.ModelWriter.Outcome;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm add-exits}: a model in, the same model with other exits out. */
@Command(
    name = "add-exits",
    description =
        "Writes a model with further exits, or with fewer; trunk and other exits stay as they are.")
public final class AddExitsCommand extends EellmCommand {
  /** Above it, an output matrix of each exit's own would be much of the model. */
  private static final int LARGE_VOCABULARY = 65_536;

  @Mixin private WriteOptions options;
  @Mixin private JsonOption json;

  @Option(
      names = "--exits",
      paramLabel = "LAYERS",
      description =
          "Layers, from 1, after which to add exits: 2,4 or 4-8, or all, which is all but the"
              + " last.")
  private Optional<String> exits = Optional.empty();

  @Option(
      names = "--remove",
      paramLabel = "LAYERS",
      description = "Layers whose exits to remove, in the same form; this comes first.")
  private Optional<String> remove = Optional.empty();

  @Option(
      names = "--head",
      split = ",",
      paramLabel = "PART",
      description =
          "What heads are made of beside the output matrix: norm, mlp, block, or embedding for"
              + " nothing. By default as the model's other exits, or norm if it has none.")
  private List<String> head = List.of();

  @Option(
      names = "--tie",
      negatable = true,
      defaultValue = Option.NULL_VALUE,
      fallbackValue = "true",
      description =
          "The exits share the model's output matrix, or each has its own. By default as the"
              + " model's other exits; of a model without, they share where the vocabulary is"
              + " above "
              + LARGE_VOCABULARY
              + ".")
  private Optional<Boolean> tie = Optional.empty();

  @Option(
      names = "--init",
      defaultValue = "copy",
      paramLabel = "HOW",
      description =
          "copy: heads begin as the final head, their layer's MLP and the last layer; random"
              + " (default: ${DEFAULT-VALUE}).")
  private Start start;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Seed of --init random; 1234 by default.")
  private Optional<Long> seed = Optional.empty();

  @Option(
      names = "--heads",
      paramLabel = "DIR",
      description =
          "Put these heads in place of the model's exits: a folder of heads, or the output of eellm"
              + " tune.")
  private Optional<Path> heads = Optional.empty();

  @Override
  public Integer call() {
    if (heads.isPresent()
        && (exits.isPresent()
            || remove.isPresent()
            || tie.isPresent()
            || !head.isEmpty()
            || seed.isPresent()
            || start != Start.COPY)) {
      throw new ConfigException(
          "--heads: says all of the exits; leave out --exits, --remove, --head, --tie, --init and"
              + " --seed");
    }
    if (heads.isPresent()) {
      try (SourceModel source = ModelReader.open(options.model());
          SourceModel model = ExitEditor.replace(source, heads.get())) {
        return write(model);
      }
    }
    if (exits.isEmpty() && remove.isEmpty()) {
      throw new ConfigException("--exits: is missing; name layers, exits to --remove, or --heads");
    }
    if (exits.isEmpty() && (tie.isPresent() || !head.isEmpty())) {
      throw new ConfigException("--head, --tie: have no effect without --exits; leave them out");
    }
    if (seed.isPresent() && (start == Start.COPY || exits.isEmpty())) {
      throw new ConfigException("--seed: has no effect without --init random; leave it out");
    }
    try (SourceModel source = ModelReader.open(options.model())) {
      SourceModel model = source;
      if (remove.isPresent()) {
        List<Integer> present = source.architecture().exits().layers();
        model = ExitEditor.remove(model, LayerList.parse("--remove", remove.get(), present));
      }
      if (exits.isPresent()) {
        model = ExitEditor.add(model, layout(model, exits.get()), start, seed.orElse(1234L));
      }
      return write(model);
    }
  }

  private int write(SourceModel model) {
    Outcome outcome =
        ModelWriter.writeModel(
            model,
            options.output(),
            new Options(Optional.empty(), options.tokenizer()),
            options.listener(System.err));
    options.report(outcome, json, out(), err());
    return ExitCode.OK;
  }

  private ExitLayout layout(SourceModel model, String list) {
    ExitLayout present = model.architecture().exits();
    List<Integer> all =
        IntStream.range(1, model.architecture().model().numLayers()).boxed().toList();
    List<Integer> layers = LayerList.parse("--exits", list, all);
    int last = model.architecture().model().numLayers();
    layers.stream()
        .filter(layer -> layer < 1 || layer > last)
        .findFirst()
        .ifPresent(
            layer -> {
              throw new ConfigException(
                  "--exits: the model has no layer %d; use 1..%d".formatted(layer, last));
            });
    boolean alike = !present.layers().isEmpty();
    boolean tied =
        tie.orElse(
            alike
                ? present.tieOutput()
                : model.architecture().model().vocabSize() > LARGE_VOCABULARY);
    if (head.isEmpty() && alike) {
      return new ExitLayout(layers, present.norm(), present.mlp(), present.block(), tied);
    }
    Set<HeadPart> parts = head.isEmpty() ? EnumSet.of(HeadPart.NORM) : parts();
    return new ExitLayout(
        layers,
        parts.contains(HeadPart.NORM),
        parts.contains(HeadPart.MLP),
        parts.contains(HeadPart.BLOCK),
        tied);
  }

  private Set<HeadPart> parts() {
    Set<HeadPart> parts = EnumSet.noneOf(HeadPart.class);
    for (String name : head) {
      switch (name.toLowerCase(Locale.ROOT)) {
        case "norm" -> parts.add(HeadPart.NORM);
        case "mlp" -> parts.add(HeadPart.MLP);
        case "block" -> parts.add(HeadPart.BLOCK);
        case "embedding" -> {}
        default ->
            throw new ConfigException(
                "--head: '%s' is unknown; use norm, mlp, block or embedding".formatted(name));
      }
    }
    if (head.stream().anyMatch("embedding"::equalsIgnoreCase) && !parts.isEmpty()) {
      throw new ConfigException(
          "--head: embedding means the output matrix alone; leave it out beside other parts");
    }
    return parts;
  }
}
