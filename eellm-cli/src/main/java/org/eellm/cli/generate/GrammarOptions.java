package org.eellm.cli.generate;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.eellm.config.ConfigException;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.sample.GrammarMasks;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.grammar.GrammarSource;
import picocli.CommandLine.Option;

/** What texts are held to, as a mixin. */
final class GrammarOptions {
  @Option(
      names = "--json-schema",
      paramLabel = "FILE",
      description = "Write JSON that this JSON Schema accepts.")
  private Optional<Path> schema = Optional.empty();

  @Option(
      names = "--regex",
      paramLabel = "PATTERN",
      description = "Write a text that matches this regular expression as a whole.")
  private Optional<String> pattern = Optional.empty();

  @Option(
      names = "--grammar",
      paramLabel = "FILE",
      description = "Write a text of rule root of these rules, in llama.cpp's notation (GBNF).")
  private Optional<Path> rules = Optional.empty();

  /** The first of these options that is given. */
  Optional<String> given() {
    return schema
        .map(_ -> "--json-schema")
        .or(() -> pattern.map(_ -> "--regex"))
        .or(() -> rules.map(_ -> "--grammar"));
  }

  /** Holds a model's texts to what the options say; changes nothing if they say nothing. */
  UnaryOperator<SamplingParams> constraint(LoadedModel model) {
    List<GrammarSource> sources = new ArrayList<>();
    schema.ifPresent(file -> sources.add(new GrammarSource.Schema(read(file))));
    pattern.ifPresent(text -> sources.add(new GrammarSource.Expression(text)));
    rules.ifPresent(file -> sources.add(new GrammarSource.Rules(read(file))));
    if (sources.size() > 1) {
      throw new ConfigException(
          "--json-schema, --regex and --grammar: a text is held to one of them; leave the others"
              + " out");
    }
    if (sources.isEmpty()) {
      return UnaryOperator.identity();
    }
    GrammarMasks masks = new GrammarMasks(model.tokenizer());
    return params -> params.withConstraint(masks.constraint(sources.getFirst(), model.endTokens()));
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
