package org.eellm.cli.generate;

import java.io.PrintWriter;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftSource;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** How tokens are decoded, as a mixin. What has no effect in the mode is refused. */
public final class DecodingOptions {
  @Spec(Spec.Target.MIXEE)
  private CommandSpec spec;

  @Option(
      names = "--mode",
      paramLabel = "MODE",
      description =
          "speculative, the default: exits, or the text itself, draft and the full model verifies;"
              + " the text is the full model's. early-exit, the default where a policy or a"
              + " threshold is given: tokens leave where the policy says, and keys and values left"
              + " out are filled in later. recompute: the same, but what is left out starts anew"
              + " from layer 1. propagate: the same, but what is left out is made from the exit's"
              + " own hidden state, which is less work and another text. full: the full model,"
              + " without exits.")
  private Optional<DecodingMode> mode;

  @Mixin private ExitOptions exits;

  @Option(
      names = "--draft-source",
      paramLabel = "SOURCE",
      description =
          "For the mode speculative without the three options that follow: exits alone; text, for"
              + " what followed the last tokens where prompt or text had them before; or both, the"
              + " default.")
  private Optional<DraftSource> draftSource;

  @Option(
      names = "--draft-exit",
      paramLabel = "LAYER",
      description =
          "For the mode speculative: the exit that drafts, the shallowest if just the length is"
              + " given; without any of these three, who drafts and how far adapts to text and"
              + " machine.")
  private Optional<Integer> draftExit;

  @Option(
      names = "--draft-length",
      paramLabel = "N",
      description =
          "For the mode speculative: most tokens of a draft, up to "
              + DraftLength.MAX_TOKENS
              + "; "
              + DecodingSettings.DRAFT_LENGTH
              + " by default.")
  private Optional<Integer> draftLength;

  @Option(
      names = "--draft-confidence",
      paramLabel = "X",
      description =
          "For the mode speculative: a draft ends where the exit's choice leads the next one by"
              + " less than X, from 0 to 1; "
              + DecodingSettings.DRAFT_CONFIDENCE
              + " by default, 0 for drafts of fixed length.")
  private Optional<Double> draftConfidence;

  /** The first of these options that was given. */
  public Optional<String> given() {
    return mode.map(value -> "--mode")
        .or(exits::given)
        .or(() -> draftSource.map(value -> "--draft-source"))
        .or(() -> draftExit.map(value -> "--draft-exit"))
        .or(() -> draftLength.map(value -> "--draft-length"))
        .or(() -> draftConfidence.map(value -> "--draft-confidence"));
  }

  /**
   * The decoding for a model.
   *
   * @param maxTokens most tokens of the text
   * @throws ConfigException if an option has no effect, or the mode is not for the model
   */
  DecodingMethod decoding(LoadedModel model, int maxTokens) {
    return settings(model)
        .decoding(model.architecture().exits().layers(), maxTokens, DecodingOptions::option);
  }

  /**
   * Says what is wrong with these options before there is a text to decode, and what they come to.
   *
   * @throws ConfigException as {@link #decoding}
   */
  public void require(LoadedModel model, int maxTokens) {
    DecodingMethod decoding = decoding(model, maxTokens);
    decoding.heads(model.decoder().allHeads());
    Gate.requireModel(decoding.gates(), model.decoder(), model.vocabulary());
    tellCalibration(model);
  }

  /** Tells if it is the model's own calibration that decides. */
  void tellCalibration(LoadedModel model) {
    if (!settings(model).equals(settings())) {
      PrintWriter err = spec.commandLine().getErr();
      err.printf("tokens leave as %s says; --threshold overrules it%n", model.calibrationFile());
      err.flush();
    }
  }

  /** What users of the command line call a setting. */
  public static String option(String setting) {
    return "--" + setting;
  }

  /** What was given. */
  public DecodingSettings settings() {
    DecodingSettings.Builder settings = DecodingSettings.builder();
    mode.ifPresent(settings::mode);
    exits.addTo(settings);
    draftSource.ifPresent(settings::draftSource);
    draftExit.ifPresent(settings::draftExit);
    draftLength.ifPresent(settings::draftLength);
    draftConfidence.ifPresent(settings::draftConfidence);
    return settings.build();
  }

  /** What it comes to for a model, which may have a calibration of its own. */
  public DecodingSettings settings(LoadedModel model) {
    return model.settings(settings());
  }

  public int maxPending() {
    return exits.maxPending();
  }
}
