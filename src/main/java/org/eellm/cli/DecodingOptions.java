package org.eellm.cli;

import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.generate.Decoding;
import org.eellm.generate.DraftLength;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** How tokens are decoded, as a mixin. What has no effect in the mode is refused. */
final class DecodingOptions {
  private static final int DRAFT_LENGTH = 6;
  private static final double DRAFT_CONFIDENCE = 0.5;

  @Option(
      names = "--mode",
      paramLabel = "MODE",
      description =
          "early-exit, the default: tokens leave where the policy says, and keys and values left"
              + " out are filled in later. recompute: the same, but what is left out starts anew"
              + " from layer 1. speculative: an exit drafts and the full model judges; the text is"
              + " the full model's. full: the full model, without exits.")
  private Optional<Mode> mode;

  @Mixin private ExitOptions exits;

  @Option(
      names = "--draft-exit",
      paramLabel = "LAYER",
      description = "For the mode speculative: the exit that drafts; the shallowest by default.")
  private Optional<Integer> draftExit;

  @Option(
      names = "--draft-length",
      paramLabel = "N",
      description =
          "For the mode speculative: most tokens of a draft; " + DRAFT_LENGTH + " by default.")
  private Optional<Integer> draftLength;

  @Option(
      names = "--draft-confidence",
      paramLabel = "X",
      description =
          "For the mode speculative: a draft ends where the exit's probability is below X; "
              + DRAFT_CONFIDENCE
              + " by default, 0 for drafts of fixed length.")
  private Optional<Double> draftConfidence;

  private enum Mode {
    FULL,
    EARLY_EXIT,
    RECOMPUTE,
    SPECULATIVE;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /** The first of these options that was given. */
  Optional<String> given() {
    return mode.map(value -> "--mode")
        .or(exits::given)
        .or(() -> draftExit.map(value -> "--draft-exit"))
        .or(() -> draftLength.map(value -> "--draft-length"))
        .or(() -> draftConfidence.map(value -> "--draft-confidence"));
  }

  /**
   * The decoding for a model.
   *
   * @param available layers of the model's exits
   * @param maxTokens most tokens of the text
   * @throws ConfigException if an option has no effect, or the mode is not for the model
   */
  Decoding decoding(List<Integer> available, int maxTokens) {
    Mode chosen = mode.orElse(Mode.EARLY_EXIT);
    if (chosen != Mode.SPECULATIVE) {
      refuse(draftExit.isPresent(), "--draft-exit", chosen);
      refuse(draftLength.isPresent(), "--draft-length", chosen);
      refuse(draftConfidence.isPresent(), "--draft-confidence", chosen);
    }
    if (chosen == Mode.FULL || chosen == Mode.SPECULATIVE) {
      exits.given().ifPresent(option -> refuse(true, option, chosen));
    }
    if (chosen != Mode.FULL && mode.isPresent() && available.isEmpty()) {
      throw new ConfigException(
          "--mode: %s needs exits, and this model has none; use full".formatted(chosen));
    }
    return switch (chosen) {
      case FULL -> Decoding.full();
      case EARLY_EXIT -> new Decoding.EarlyExit(exits.policy(available, maxTokens));
      case RECOMPUTE -> new Decoding.Recompute(exits.policy(available, maxTokens));
      case SPECULATIVE -> new Decoding.Speculative(draftExit(available), draftLength());
    };
  }

  int maxPending() {
    return exits.maxPending();
  }

  private int draftExit(List<Integer> available) {
    int layer = draftExit.orElse(available.getFirst());
    if (!available.contains(layer)) {
      throw new ConfigException(
          "--draft-exit: there is no exit after layer %d; this model has exits after %s"
              .formatted(layer, ExitOptions.listed(available)));
    }
    return layer;
  }

  private DraftLength draftLength() {
    int most = draftLength.orElse(DRAFT_LENGTH);
    double confidence = draftConfidence.orElse(DRAFT_CONFIDENCE);
    return confidence == 0
        ? new DraftLength.Fixed(most)
        : new DraftLength.Adaptive(most, confidence);
  }

  private static void refuse(boolean condition, String option, Mode chosen) {
    if (condition) {
      throw new ConfigException(option + " has no effect in the mode " + chosen + "; leave it out");
    }
  }
}
