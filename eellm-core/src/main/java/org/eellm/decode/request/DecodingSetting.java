package org.eellm.decode.request;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.exit.PolicyRule;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftSource;

/**
 * The table of what can be said of decoding. Options of the command line, fields of requests, the
 * server's own settings as JSON, and the fingerprint of results all go by it: a new line here is
 * known everywhere, and {@link DecodingResolver} has to say what becomes of it.
 *
 * @param name with hyphens, as in options; requests have underscores
 * @param part of decoding on which it has an effect; elsewhere it is refused
 * @param kind of values
 * @param usual where it is not said; absent if that depends on the model or on other settings
 * @param label of the value in help
 */
public record DecodingSetting<T>(
    String name, Part part, Kind kind, Optional<T> usual, String label, String description) {

  /** The part of decoding that a setting has an effect on. */
  public enum Part {
    /** All of it. */
    MODE,
    /** When tokens leave early; with a calibration, whose file says it, it is refused. */
    POLICY,
    /** When tokens leave early, with a calibration too. */
    THRESHOLD,
    /** How much waits at exits, which changes no text; for those who start the engine. */
    PENDING,
    /** Who drafts, and how far. */
    DRAFTS
  }

  /** Values, with their bounds. */
  public sealed interface Kind {
    /** Of an enumeration. */
    record Choice(List<? extends Enum<?>> values) implements Kind {}

    /** From {@code least} to {@code most}. */
    record WholeNumber(int least, int most) implements Kind {}

    /** From {@code least} to {@code most}. */
    record RealNumber(double least, double most) implements Kind {}

    record Layers() implements Kind {}

    /** {@link ThresholdSetting}. */
    record Thresholds() implements Kind {}

    /** A {@link Calibration}; by its file. */
    record CalibrationFile() implements Kind {}

    default Class<?> type() {
      return switch (this) {
        case Choice(List<? extends Enum<?>> values) -> values.getFirst().getDeclaringClass();
        case WholeNumber _ -> Integer.class;
        case RealNumber _ -> Double.class;
        case Layers _ -> List.class;
        case Thresholds _ -> ThresholdSetting.class;
        case CalibrationFile _ -> Calibration.class;
      };
    }
  }

  private static final Kind FROM_1 = new Kind.WholeNumber(1, Integer.MAX_VALUE);

  /** If absent, early exits where anything of a policy is said, else drafts. */
  public static final DecodingSetting<DecodingMode> MODE =
      new DecodingSetting<>(
          "mode",
          Part.MODE,
          new Kind.Choice(List.of(DecodingMode.values())),
          Optional.empty(),
          "MODE",
          "speculative, the default: exits, or the text itself, draft and the full model verifies;"
              + " the text is the full model's. early-exit, the default where a policy or a"
              + " threshold is given: tokens leave where the policy says, and keys and values left"
              + " out are filled in later. recompute: the same, but what is left out starts anew"
              + " from layer 1. propagate: the same, but what is left out is made from the exit's"
              + " own hidden state, which is less work and another text. full: the full model,"
              + " without exits.");

  /** If absent the largest probability, or the full model where there are no exits. */
  public static final DecodingSetting<PolicyName> POLICY =
      new DecodingSetting<>(
          "policy",
          Part.POLICY,
          new Kind.Choice(List.of(PolicyName.values())),
          Optional.empty(),
          "POLICY",
          "When a token leaves at an exit. "
              + Arrays.stream(PolicyName.values())
                  .map(name -> "%s: %s.".formatted(name, name.description()))
                  .collect(Collectors.joining(" "))
              + " By default max-probability, or full for a model without exits.");

  /** If absent the policy's default, or the calibration's. */
  public static final DecodingSetting<ThresholdSetting> THRESHOLD =
      new DecodingSetting<>(
          "threshold",
          Part.THRESHOLD,
          new Kind.Thresholds(),
          Optional.empty(),
          "X",
          "For %s: a number, or one for each exit in use, as in 2=0.8,4=0.9."
              .formatted(PolicyName.listed(withDefaults(), "and")));

  /** Of {@link org.eellm.decode.exit.Threshold#decaying}. */
  public static final DecodingSetting<Double> THRESHOLD_DECAY =
      new DecodingSetting<>(
          "threshold-decay",
          Part.THRESHOLD,
          new Kind.RealNumber(0, Double.POSITIVE_INFINITY),
          Optional.empty(),
          "X",
          "For %s: the threshold is 0.1 exp(-X t / max-tokens) + 0.9 times itself at token t, so that early tokens leave less easily (CALM takes 4)."
              .formatted(PolicyName.listed(PolicyName.ofConfidence(), "and")));

  /** In place of the policy and what it takes; a threshold beside it takes the place of its own. */
  public static final DecodingSetting<Calibration> CALIBRATION =
      new DecodingSetting<>(
          "calibration",
          Part.THRESHOLD,
          new Kind.CalibrationFile(),
          Optional.empty(),
          "FILE",
          "Policy, exits and thresholds from a JSON file, in place of --policy and --exits;"
              + " --threshold beside it gives other thresholds. Where no option says when tokens"
              + " leave, the model's own calibration.json if it has one."
              + " docs/exits.md has its form.");

  private static final List<DecodingSetting<Integer>> POLICY_NUMBERS =
      Arrays.stream(PolicyName.values())
          .flatMap(
              policy ->
                  policy.rule() instanceof PolicyRule.Counted rule
                      ? Stream.of(number(policy, rule))
                      : Stream.empty())
          .toList();

  public static final DecodingSetting<List<Integer>> EXITS =
      new DecodingSetting<>(
          "exits",
          Part.POLICY,
          new Kind.Layers(),
          Optional.empty(),
          "LAYER",
          "Layers of the exits to use, as in 2,4; all by default. In the mode speculative: exits"
              + " that draft at fixed length, each token by the first that is sure enough; beside"
              + " draft-exit that one and a deeper one, which its drafts have to pass first.");

  /** Belongs to {@link Limits}: here it is only refused where nothing waits. */
  public static final DecodingSetting<Integer> MAX_PENDING =
      new DecodingSetting<>(
          "max-pending",
          Part.PENDING,
          FROM_1,
          Optional.of(Limits.MAX_PENDING),
          "N",
          "Hidden states that may wait at an exit before they go through the layers above; %d by default. Changes speed; no text but by rounding."
              .formatted(Limits.MAX_PENDING));

  /** Of exits only where exit and length are chosen as the text is written. */
  public static final DecodingSetting<DraftSource> DRAFT_SOURCE =
      new DecodingSetting<>(
          "draft-source",
          Part.DRAFTS,
          new Kind.Choice(List.of(DraftSource.values())),
          Optional.of(DraftSource.BOTH),
          "SOURCE",
          "For the mode speculative without the options for a fixed exit or length: exits alone;"
              + " both, the default, for all. At a fixed length, too:"
              + " head, for a draft head beside the model; text, for what followed the last tokens"
              + " where these came before, and of that prompt, table, replies or recycled for the"
              + " text itself, the draft table, other replies or the model's last choices alone.");

  /** Not where an exit drafts at fixed length. */
  public static final DecodingSetting<DraftMemory> DRAFT_MEMORY =
      new DecodingSetting<>(
          "draft-memory",
          Part.DRAFTS,
          new Kind.Choice(List.of(DraftMemory.values())),
          Optional.of(DraftMemory.SHARED),
          "MEMORY",
          "For the drafts of text: shared, the default, to draft from other requests' replies, too;"
              + " own, to draft from nothing of others and to leave nothing for them.");

  /** The shallowest if absent beside one of the two that follow. */
  public static final DecodingSetting<Integer> DRAFT_EXIT =
      new DecodingSetting<>(
          "draft-exit",
          Part.DRAFTS,
          FROM_1,
          Optional.empty(),
          "LAYER",
          "For the mode speculative: the exit that drafts, the shallowest if just the length is"
              + " given, and no other source; without any of these three, who drafts and how far"
              + " adapts to text and machine.");

  /** Only where one exit drafts. */
  public static final DecodingSetting<Integer> DRAFT_RESUME =
      new DecodingSetting<>(
          "draft-resume",
          Part.DRAFTS,
          FROM_1,
          Optional.empty(),
          "LAYER",
          "For the mode speculative: drafts skip the layers between draft-exit and this one, and"
              + " the full model's head drafts.");

  public static final DecodingSetting<Integer> DRAFT_LENGTH =
      new DecodingSetting<>(
          "draft-length",
          Part.DRAFTS,
          new Kind.WholeNumber(1, DraftLength.MAX_TOKENS),
          Optional.of(6),
          "N",
          "For the mode speculative: most tokens of a draft, up to %d; 6 by default."
              .formatted(DraftLength.MAX_TOKENS));

  /** A draft ends where the exit is less far ahead than this; 0 for drafts of fixed length. */
  public static final DecodingSetting<Double> DRAFT_MARGIN =
      new DecodingSetting<>(
          "draft-margin",
          Part.DRAFTS,
          new Kind.RealNumber(0, 1),
          Optional.of(0.5),
          "X",
          "For the mode speculative: a draft ends where the drafter's choice is ahead of the next"
              + " one by less than X of its own probability, or a text's draft holds less often,"
              + " from 0 to 1; 0.5 by default, 0 for drafts of fixed length.");

  private static final List<DecodingSetting<?>> ALL =
      Stream.of(
              List.of(MODE, POLICY, THRESHOLD, THRESHOLD_DECAY, CALIBRATION),
              POLICY_NUMBERS,
              List.of(EXITS, MAX_PENDING),
              List.of(
                  DRAFT_SOURCE, DRAFT_MEMORY, DRAFT_EXIT, DRAFT_RESUME, DRAFT_LENGTH, DRAFT_MARGIN))
          .<DecodingSetting<?>>flatMap(List::stream)
          .toList();

  /** By its name, of which there is one: Java's own reads all of a setting's texts. */
  @Override
  public int hashCode() {
    return name.hashCode();
  }

  private static DecodingSetting<Integer> number(PolicyName policy, PolicyRule.Counted rule) {
    return new DecodingSetting<>(
        rule.setting(),
        Part.POLICY,
        FROM_1,
        Optional.of(rule.usual()),
        "K",
        "For the policy %s: %s; %d by default.".formatted(policy, rule.meaning(), rule.usual()));
  }

  /** All, in the order in which fingerprints have them. */
  public static List<DecodingSetting<?>> all() {
    return ALL;
  }

  public static List<DecodingSetting<Integer>> policyNumbers() {
    return POLICY_NUMBERS;
  }

  public static DecodingSetting<Integer> of(PolicyRule.Counted rule) {
    return POLICY_NUMBERS.stream()
        .filter(setting -> setting.name.equals(rule.setting()))
        .findFirst()
        .orElseThrow();
  }

  /** Whether a request can have it: not what is read from a file, or belongs to the engine. */
  public boolean isRequestable() {
    return part != Part.PENDING && !(kind instanceof Kind.CalibrationFile);
  }

  /** The name in requests: {@code threshold_decay}. */
  public String field() {
    return name.replace('-', '_');
  }

  /** The name in fingerprints: {@code thresholdDecay}. */
  String fingerprintName() {
    String[] words = name.split("-");
    return words[0]
        + Arrays.stream(words)
            .skip(1)
            .map(word -> word.substring(0, 1).toUpperCase(Locale.ROOT) + word.substring(1))
            .collect(Collectors.joining());
  }

  /** {@code max-probability (0.9 by default), margin (0.8)}. */
  private static List<String> withDefaults() {
    List<PolicyName> names = PolicyName.withThreshold();
    return names.stream()
        .map(
            name ->
                "%s (%s%s)"
                    .formatted(
                        name,
                        name.thresholdRule().orElseThrow().defaultThreshold(),
                        name == names.getFirst() ? " by default" : ""))
        .toList();
  }

  @Override
  public String toString() {
    return name;
  }
}
