package org.eellm.checkpoint.huggingface.family;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.JsonFields;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfigBuilder;
import org.eellm.config.RopeScaling;

/**
 * Rotary positions. Older files say them in fields of the families' own and in {@code
 * rope_scaling}, newer ones in {@code rope_parameters}, perhaps by type of layer.
 *
 * @param base the older field of the base of the frequencies
 * @param theta that base where the file has none
 * @param part the older field of the share of each head that is rotated; empty if all is
 * @param share that share where the file has none
 */
record RopeField(String base, double theta, String part, double share) implements Field {
  private static final String SCALING = "rope_scaling";
  private static final String PARAMETERS = "rope_parameters";
  private static final String THETA = "rope_theta";
  private static final String PARTIAL = "partial_rotary_factor";
  private static final String ORIGINAL = "original_max_position_embeddings";
  private static final String ATTENTION_FACTOR = "attention_factor";

  /** Of a family that rotates whole heads. */
  RopeField(double theta) {
    this(THETA, theta, "", 1);
  }

  /** Of a family that may rotate a part of each head. */
  static RopeField partial(double theta) {
    return new RopeField(THETA, theta, PARTIAL, 1);
  }

  @Override
  public void read(JsonFields from, ModelConfigBuilder into) {
    into.ropeTheta(theta(from)).ropeScaling(scaling(from));
    if (!part.isEmpty()) {
      double outside = from.number(part, share);
      into.rotaryFraction(
          parameters(from).map(inner -> inner.number(PARTIAL, outside)).orElse(outside));
    }
  }

  /** The base of frequencies. */
  double theta(JsonFields from) {
    double outside = from.number(base, theta);
    double inside = parameters(from).map(inner -> inner.number(THETA, outside)).orElse(outside);
    if (from.has(base) && inside != outside) {
      throw new CheckpointException(
          "%s: %s: %s differs from rope_parameters.rope_theta %s"
              .formatted(from.place(), base, outside, inside));
    }
    return inside;
  }

  /** The newer fields, those of layers that see all positions where there are several. */
  private static Optional<JsonFields> parameters(JsonFields from) {
    Optional<JsonFields> all = from.object(PARAMETERS);
    Optional<JsonFields> full = all.flatMap(inner -> inner.object("full_attention"));
    return full.isPresent() ? full : all;
  }

  /** The base of the frequencies of sliding layers in the newer fields. */
  static Optional<Double> slidingTheta(JsonFields from) {
    return from.object(PARAMETERS)
        .flatMap(inner -> inner.object("sliding_attention"))
        .map(
            inner -> {
              if (!inner.optionalText("rope_type").orElse("default").equals("default")) {
                throw new CheckpointException(
                    inner.place() + ": rope_type: default alone is supported in sliding layers");
              }
              return inner.number(THETA);
            });
  }

  /** Whether frequencies are scaled. */
  boolean isScaled(JsonFields from) {
    return !(scaling(from) instanceof RopeScaling.None);
  }

  private RopeScaling scaling(JsonFields from) {
    RopeScaling older =
        from.object(SCALING).map(rope -> scaling(from, rope)).orElse(new RopeScaling.None());
    RopeScaling newer = parameters(from).map(rope -> scaling(from, rope)).orElse(older);
    if (from.has(SCALING) && !older.equals(newer)) {
      throw new CheckpointException(
          "%s: rope_scaling and rope_parameters disagree; remove one of them"
              .formatted(from.place()));
    }
    return newer;
  }

  private RopeScaling scaling(JsonFields from, JsonFields rope) {
    rope.find(THETA);
    if (!part.isEmpty()) {
      rope.find(PARTIAL);
    }
    String type = type(rope);
    RopeScaling scaling =
        switch (type) {
          case "default" -> new RopeScaling.None();
          case "linear" -> new RopeScaling.Linear(rope.number("factor"));
          case "llama3" ->
              new RopeScaling.Llama3(
                  rope.number("factor"),
                  rope.number("low_freq_factor"),
                  rope.number("high_freq_factor"),
                  rope.positive(ORIGINAL));
          case "yarn" ->
              new RopeScaling.Yarn(
                  rope.number("factor"),
                  original(from, rope).orElseGet(() -> made(from)),
                  rope.number("beta_fast", 32),
                  rope.number("beta_slow", 1),
                  rope.number(ATTENTION_FACTOR, yarnFactor(rope)),
                  rope.optionalBool("truncate").orElse(true));
          case "longrope" -> longRope(from, rope);
          default ->
              throw new CheckpointException(
                  "%s: rope_type: %s is not supported; default, linear, llama3, yarn and longrope are"
                      .formatted(rope.place(), type));
        };
    rope.find(ORIGINAL);
    for (String name : rope.unasked()) {
      Variants.refuseUnlessOne(rope, name);
    }
    return scaling;
  }

  /** What DeepSeek's two fields make of the attention factor; 0 where one is missing. */
  private static double yarnFactor(JsonFields rope) {
    if (!rope.unasked().containsAll(List.of("mscale", "mscale_all_dim"))) {
      return 0;
    }
    double log = 0.1 * Math.log(rope.number("factor"));
    double part = rope.number("mscale", 0);
    double all = rope.number("mscale_all_dim", 0);
    return part == 0 || all == 0 ? 0 : (part * log + 1) / (all * log + 1);
  }

  /** The older word, type, is su for what is longrope today. */
  private static String type(JsonFields rope) {
    Optional<String> older = rope.optionalText("type");
    String type = rope.optionalText("rope_type").or(() -> older).orElse("default");
    if (!older.orElse(type).equals(type)) {
      throw new CheckpointException(
          "%s: rope_type %s and type %s disagree; remove one of them"
              .formatted(rope.place(), type, older.orElseThrow()));
    }
    return type.equals("su") ? "longrope" : type;
  }

  private static RopeScaling longRope(JsonFields from, JsonFields rope) {
    Optional<Integer> known = original(from, rope);
    int made = made(from);
    int original = known.orElse(made);
    double factor = known.isPresent() ? (double) made / original : rope.number("factor", 1);
    rope.find("factor");
    double usual = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
    return new RopeScaling.LongRope(
        factors(rope, "short_factor"),
        factors(rope, "long_factor"),
        original,
        rope.number(ATTENTION_FACTOR, usual));
  }

  private static List<Double> factors(JsonFields rope, String name) {
    List<Double> factors = new ArrayList<>();
    for (JsonNode factor : rope.array(name)) {
      if (!factor.isNumber()) {
        throw rope.wrong(name, factor, "is not a number");
      }
      factors.add(factor.doubleValue());
    }
    return factors;
  }

  /** The context before scaling, which Phi-3's files have outside. */
  private static Optional<Integer> original(JsonFields from, JsonFields rope) {
    JsonFields place = rope.has(ORIGINAL) ? rope : from;
    return place.has(ORIGINAL) ? Optional.of(place.positive(ORIGINAL)) : Optional.empty();
  }

  private static int made(JsonFields from) {
    return from.positive(Family.MADE_POSITIONS);
  }

  /**
   * The longest text that a model is at its best with: of one with a list of factors for short
   * texts and one for long texts, those that the short ones are for.
   */
  static int usualPositions(JsonFields from, int made) {
    JsonFields unasked = new JsonFields(from.place(), from.object()); // of families without rope
    Optional<JsonFields> newer = parameters(unasked);
    Optional<JsonFields> rope = newer.isPresent() ? newer : unasked.object(SCALING);
    return rope.filter(inner -> type(inner).equals("longrope"))
        .flatMap(inner -> original(unasked, inner))
        .map(original -> Math.min(original, made))
        .orElse(made);
  }

  /** Likewise of a model: the shorter context of LongRoPE's two. */
  static int usualPositions(ModelConfig model) {
    return model.ropeScaling() instanceof RopeScaling.LongRope scaled
        ? Math.min(scaled.originalMaxPositions(), model.maxPositions())
        : model.maxPositions();
  }

  @Override
  public void write(ModelConfig from, ObjectNode into) {
    into.put(base, from.ropeTheta());
    if (!part.isEmpty()) {
      into.put(part, from.rotaryFraction());
    }
    switch (from.ropeScaling()) {
      case RopeScaling.None() -> into.putNull(SCALING);
      // Tools from before transformers 4.43 know the older word, type, only.
      case RopeScaling.Linear(double factor) ->
          into.putObject(SCALING)
              .put("type", "linear")
              .put("rope_type", "linear")
              .put("factor", factor);
      case RopeScaling.Llama3(double factor, double low, double high, int original) ->
          into.putObject(SCALING)
              .put("rope_type", "llama3")
              .put("factor", factor)
              .put("low_freq_factor", low)
              .put("high_freq_factor", high)
              .put(ORIGINAL, original);
      case RopeScaling.Yarn yarn ->
          into.putObject(SCALING)
              .put("rope_type", "yarn")
              .put("factor", yarn.factor())
              .put(ORIGINAL, yarn.originalMaxPositions())
              .put("beta_fast", yarn.betaFast())
              .put("beta_slow", yarn.betaSlow())
              .put(ATTENTION_FACTOR, yarn.attentionFactor())
              .put("truncate", yarn.truncate());
      case RopeScaling.LongRope scaled -> {
        into.put(ORIGINAL, scaled.originalMaxPositions());
        ObjectNode rope =
            into.putObject(SCALING)
                .put("type", "longrope")
                .put("rope_type", "longrope")
                .put(ATTENTION_FACTOR, scaled.attentionFactor())
                .put(ORIGINAL, scaled.originalMaxPositions());
        scaled.shortFactors().forEach(rope.putArray("short_factor")::add);
        scaled.longFactors().forEach(rope.putArray("long_factor")::add);
      }
    }
  }
}
