package org.eellm.eval.sweep;

import static org.eellm.decode.request.DecodingMode.EARLY_EXIT;
import static org.eellm.decode.request.DecodingSetting.DRAFT_EXIT;
import static org.eellm.decode.request.DecodingSetting.DRAFT_MEMORY;
import static org.eellm.decode.request.DecodingSetting.DRAFT_RESUME;
import static org.eellm.decode.request.DecodingSetting.DRAFT_SOURCE;
import static org.eellm.decode.request.DecodingSetting.EXITS;
import static org.eellm.decode.request.DecodingSetting.THRESHOLD_DECAY;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.exit.ThresholdRule;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.speculate.DraftMemory;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.Prediction;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.GreedyContinuation;

/**
 * The methods of the field that {@code eellm sweep --methods} compares, each with its paper and the
 * setting that does what the paper does; docs/dev/method.md says how to add one.
 *
 * <p>Thresholds differ in what they mean, so each policy has the laxest one that keeps an agreed
 * share of the tokens, and what methods gain is compared at the same loss.
 */
public enum ComparedMethod {
  /** All tokens leave at the deepest exit (depth-adaptive transformer). */
  FIXED_EXIT(
      "1910.10073",
      Need.EXITS,
      subject ->
          SweepSetting.ofExits(EARLY_EXIT, PolicyName.FIXED, List.of(subject.below().getLast()))),
  /**
   * Shallow-deep networks. What leaves waits, here as in all methods but the two that say more, and
   * passes the layers above with the next token that needs them (FREE, arXiv 2310.05424).
   */
  MAX_PROBABILITY(
      "1810.07052", Need.EXITS, subject -> subject.setting(EARLY_EXIT, PolicyName.MAX_PROBABILITY)),
  /** CALM's softmax response. */
  MARGIN("2207.07061", Need.EXITS, subject -> subject.setting(EARLY_EXIT, PolicyName.MARGIN)),
  /** BranchyNet. */
  ENTROPY("1709.01686", Need.EXITS, subject -> subject.setting(EARLY_EXIT, PolicyName.ENTROPY)),
  /** PABEE. */
  PATIENCE(
      "2006.04152",
      Need.EXITS,
      _ -> SweepSetting.ofExits(EARLY_EXIT, PolicyName.PATIENCE, List.of())),
  /** CALM's thresholds that fall as the text goes on; the rest is {@link #MARGIN}. */
  DECAYING_THRESHOLD(
      "2207.07061",
      Need.EXITS,
      subject -> subject.setting(EARLY_EXIT, PolicyName.MARGIN).with(THRESHOLD_DECAY, 4.0)),
  /**
   * Learned decisions, as TIDE's routers: those see the hidden state alone and learn whether it has
   * come near the last one, gates see the choice as well and learn whether it will hold.
   */
  GATES("2603.21365", Need.GATES, Subject::gates),
  /** EE-LLM's recomputation of what was left out; the rest is {@link #MAX_PROBABILITY}. */
  RECOMPUTE(
      "2312.04916",
      Need.EXITS,
      subject -> subject.setting(DecodingMode.RECOMPUTE, PolicyName.MAX_PROBABILITY)),
  /** CALM's hidden state for all layers above; the rest is {@link #MAX_PROBABILITY}. */
  PROPAGATE(
      "2207.07061",
      Need.EXITS,
      subject -> subject.setting(DecodingMode.PROPAGATE, PolicyName.MAX_PROBABILITY)),
  /** LayerSkip: an exit drafts a fixed number of tokens. */
  LAYERSKIP(
      "2404.16710",
      Need.EXITS,
      subject -> SweepSetting.speculative(subject.below().getFirst(), 4, 0)),
  /** Kangaroo: an exit drafts as long as it is sure. */
  CONFIDENT_DRAFTS(
      "2404.18911",
      Need.EXITS,
      subject -> SweepSetting.adaptiveDrafts().with(DRAFT_EXIT, subject.below().getFirst())),
  /** DSSD: each token is drafted by the first exit that is sure, until none is. */
  DSSD(
      "2407.21082",
      Need.EXITS,
      subject -> SweepSetting.adaptiveDrafts().with(EXITS, subject.below())),
  /** HiSpec: what the first exit drafts passes the next one before the full model. */
  HISPEC(
      "2510.01336",
      Need.TWO_EXITS,
      subject ->
          SweepSetting.adaptiveDrafts()
              .with(EXITS, subject.below().subList(0, 2))
              .with(DRAFT_EXIT, subject.below().getFirst())),
  /**
   * SWIFT, with the middle layers left out: as many of the last ones as lie below an exit follow on
   * it. CLaSp (2505.24196) and KnapSpec (2602.20217) choose layers by measurements.
   */
  SKIPPED_LAYERS("2410.06916", Need.EXITS, Subject::skippedLayers),
  /** DEL: exit and length follow from what drafts are worth. */
  ADAPTIVE_EXITS("2504.05598", Need.EXITS, _ -> drafts(DraftSource.EXITS)),
  /** LLMA, prompt lookup: what followed in the text itself. */
  PROMPT_LOOKUP("2304.04487", Need.NOTHING, _ -> drafts(DraftSource.PROMPT)),
  /** N-Grammys' pairs, counted in a dataset. */
  PAIR_TABLE("2411.03786", Need.TABLE, _ -> drafts(DraftSource.TABLE)),
  /** Token Recycling, of two tokens, without a tree. */
  TOKEN_RECYCLING("2408.08696", Need.NOTHING, _ -> drafts(DraftSource.RECYCLED)),
  /** SuffixDecoding, of the replies to the texts before. */
  SUFFIX_DECODING("2411.04975", Need.NOTHING, _ -> drafts(DraftSource.REPLIES)),
  /** EAGLE's layer behind the final hidden state. */
  DRAFT_HEAD("2401.15077", Need.DRAFT_HEAD, _ -> drafts(DraftSource.HEAD)),
  /** All that drafts here, whichever is worth most at the time (EESD). */
  ALL_SOURCES("2406.03853", Need.NOTHING, _ -> drafts(DraftSource.BOTH));

  /** What a method needs of a model, and the command that makes it. */
  public enum Need {
    NOTHING("", _ -> true),
    EXITS("eellm add-exits, then eellm tune", model -> !below(model).isEmpty()),
    TWO_EXITS("eellm add-exits for two layers, then eellm tune", model -> below(model).size() > 1),
    GATES(
        "eellm calibrate --gate",
        model ->
            !model.vocabulary().draftIds().isEmpty()
                && model
                    .calibration()
                    .filter(own -> own.rule() instanceof Calibration.OfGates)
                    .isPresent()),
    TABLE("eellm draft-table", model -> model.vocabulary().hasDraftTable()),
    DRAFT_HEAD(
        "eellm tune --preset tune-draft-head, then eellm add-draft-head",
        model -> model.decoder().draftHead().isPresent());

    private final String command;
    private final Predicate<LoadedModel> isMet;

    Need(String command, Predicate<LoadedModel> isMet) {
      this.command = command;
      this.isMet = isMet;
    }

    /** The command that makes what a model may lack. */
    public String command() {
      return command;
    }

    public boolean isMetBy(LoadedModel model) {
      return isMet.test(model);
    }
  }

  /** A model, and the share of its own texts' tokens that policies with thresholds have to keep. */
  record Subject(EvaluatedModel model, List<GreedyContinuation> texts, double leastAgreement) {
    private static final List<Double> CONFIDENCES =
        IntStream.rangeClosed(0, 100).mapToObj(i -> (100 - i) / 100.0).toList();

    /** In nats, from the strictest. */
    private static final List<Double> UNCERTAINTIES =
        IntStream.rangeClosed(0, 200).mapToObj(i -> i / 20.0).toList();

    /** Layers of exits that are not behind the last layer. */
    List<Integer> below() {
      return ComparedMethod.below(model.model());
    }

    SweepSetting setting(DecodingMode mode, PolicyName policy) {
      ThresholdRule rule = policy.thresholdRule().orElseThrow();
      return SweepSetting.atThreshold(
          mode, policy, laxest(rule, rule.isConfidence() ? 1 : -1), List.of());
    }

    /**
     * @param sign that makes the figure grow as an exit becomes surer
     */
    private double laxest(ThresholdRule rule, int sign) {
      ToDoubleFunction<Prediction> figure = rule.figure();
      ExitTrace trace =
          ExitTrace.ofFigure(model, texts, prediction -> sign * figure.applyAsDouble(prediction));
      List<Double> all = rule.isConfidence() ? CONFIDENCES : UNCERTAINTIES;
      return laxest(trace, sign, all);
    }

    private double laxest(ExitTrace trace, int sign, List<Double> fromStrictest) {
      return fromStrictest.stream()
          .takeWhile(value -> Suitability.agreement(trace, sign * value) >= leastAgreement)
          .reduce(fromStrictest.getFirst(), (_, laxer) -> laxer);
    }

    SweepSetting skippedLayers() {
      int layers = model.layers();
      int exit =
          below().reversed().stream()
              .filter(layer -> 2 * layer < layers)
              .findFirst()
              .orElse(below().getFirst());
      return SweepSetting.adaptiveDrafts()
          .with(DRAFT_EXIT, exit)
          .with(DRAFT_RESUME, Math.max(layers - exit + 1, exit + 2));
    }

    SweepSetting gates() {
      LoadedModel loaded = model.model();
      ExitTrace trace = ExitTrace.of(model, texts, loaded.calibration().orElseThrow().rule());
      return SweepSetting.calibrated(
          EARLY_EXIT, loaded.calibrationFile().toString(), laxest(trace, 1, CONFIDENCES));
    }
  }

  private final String paper;
  private final Need need;
  private final Function<Subject, SweepSetting> setting;

  ComparedMethod(String paper, Need need, Function<Subject, SweepSetting> setting) {
    this.paper = paper;
    this.need = need;
    this.setting = setting;
  }

  /** Other requests' texts are those of the same pass: each round begins with none. */
  private static SweepSetting drafts(DraftSource source) {
    return SweepSetting.adaptiveDrafts()
        .with(DRAFT_SOURCE, source)
        .with(DRAFT_MEMORY, DraftMemory.SHARED);
  }

  private static List<Integer> below(LoadedModel model) {
    int last = model.architecture().model().numLayers();
    return model.architecture().exits().layers().stream().filter(layer -> layer < last).toList();
  }

  /** The number of the paper at arXiv. */
  public String paper() {
    return paper;
  }

  /** What it needs of a model. */
  public Need need() {
    return need;
  }

  /**
   * The setting for a model that has what is needed.
   *
   * @param texts of the full model's, of which thresholds are to keep a share
   */
  public SweepSetting setting(
      EvaluatedModel model, List<GreedyContinuation> texts, double leastAgreement) {
    return setting.apply(new Subject(model, texts, leastAgreement));
  }

  /**
   * The methods of a list of names, or {@code all}.
   *
   * @throws ConfigException if one is unknown
   */
  public static List<ComparedMethod> of(List<String> names) {
    return names.equals(List.of("all"))
        ? List.of(values())
        : names.stream().map(ComparedMethod::of).toList();
  }

  private static ComparedMethod of(String name) {
    return Arrays.stream(values())
        .filter(method -> method.toString().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new ConfigException(
                    "--methods: '%s' is no method; use all, or some of %s"
                        .formatted(name, Arrays.toString(values()))));
  }

  /** The name in options and tables: {@code token-recycling}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
