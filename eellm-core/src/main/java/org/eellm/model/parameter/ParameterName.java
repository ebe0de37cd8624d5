package org.eellm.model.parameter;

import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Which parameter of a model. Its text is its name in the Hugging Face scheme, with {@code
 * exits.{n}.*} for the heads of exits and {@code draft_head.*} for the draft head.
 */
public sealed interface ParameterName {
  ParameterName TOKENS = new Embedding("model.embed_tokens.weight");
  ParameterName POSITIONS = new Embedding("model.embed_positions.weight");
  ParameterName OUTPUT = new OutputMatrix();

  String EXITS = "exits.";

  String DRAFT_HEAD = "draft_head.";

  /** A table that ids or positions are looked up in. */
  record Embedding(String name) implements ParameterName {
    @Override
    public String toString() {
      return name;
    }
  }

  /**
   * Of a layer of the trunk.
   *
   * @param layer from 0
   * @param part in the layer, such as {@code self_attn.q_proj.weight}
   */
  record OfLayer(int layer, String part) implements ParameterName {
    /** The module that it is the weight or the bias of, such as {@code q_proj}. */
    String module() {
      String[] names = part.split("\\.");
      return names[Math.max(0, names.length - 2)];
    }

    @Override
    public String toString() {
      return ParameterName.layer(layer) + "." + part;
    }
  }

  /**
   * Of the norm before the final head's output matrix.
   *
   * @param part weight or bias
   */
  record OfFinalNorm(String part) implements ParameterName {
    @Override
    public String toString() {
      return Names.FINAL_NORM + part;
    }
  }

  /** The final head's output matrix, where it is not the embedding. */
  record OutputMatrix() implements ParameterName {
    @Override
    public String toString() {
      return "lm_head.weight";
    }
  }

  /**
   * Of an exit's head.
   *
   * @param layer from 1, after which the exit is
   * @param module of the head: {@code mlp}, {@code block}, {@code norm} or {@code lm_head}
   * @param part in the module
   */
  record OfExit(int layer, String module, String part) implements ParameterName {
    @Override
    public String toString() {
      return ParameterName.exit(layer) + "." + module + "." + part;
    }
  }

  /**
   * Of the draft head.
   *
   * @param part of it: {@code layer.*} as in a layer, or {@code hidden_norm}, {@code
   *     embedding_norm}, {@code projection} or {@code norm}
   */
  record OfDraftHead(String part) implements ParameterName {
    @Override
    public String toString() {
      return DRAFT_HEAD + part;
    }
  }

  /** Prefix of the names of a layer's parameters, without the dot behind it. */
  static String layer(int index) {
    return Names.LAYERS + index;
  }

  /** The matrix that gives each expert's score, by the prefix of the maps of a layer's MLP. */
  static String router(String mlp) {
    return mlp + Names.ROUTER;
  }

  /** Whether it is of a router: a matrix that is not rounded to few bits. */
  static boolean isRouter(String name) {
    return name.endsWith(Names.ROUTER);
  }

  /**
   * Prefix of the names of the maps of an expert, without the dot behind it.
   *
   * @param mlp prefix of the maps of a layer's MLP
   * @param index from 0
   */
  static String expert(String mlp, int index) {
    return mlp + ".experts." + index;
  }

  /** Prefix of the names of the parameters of an exit's head, without the dot behind it. */
  static String exit(int layer) {
    return EXITS + layer;
  }

  /**
   * The parameter of a name.
   *
   * @throws IllegalArgumentException if no model has one of this name
   */
  static ParameterName parse(String name) {
    if (name.equals(TOKENS.toString())) {
      return TOKENS;
    }
    if (name.equals(POSITIONS.toString())) {
      return POSITIONS;
    }
    if (name.equals(OUTPUT.toString())) {
      return OUTPUT;
    }
    if (name.startsWith(Names.FINAL_NORM)) {
      return new OfFinalNorm(name.substring(Names.FINAL_NORM.length()));
    }
    if (name.startsWith(DRAFT_HEAD)) {
      return new OfDraftHead(name.substring(DRAFT_HEAD.length()));
    }
    Matcher layer = Names.LAYER.matcher(name);
    if (layer.matches()) {
      return new OfLayer(Integer.parseInt(layer.group("layer")), layer.group("part"));
    }
    Matcher exit = Names.EXIT.matcher(name);
    if (exit.matches()) {
      return new OfExit(
          Integer.parseInt(exit.group("layer")), exit.group("module"), exit.group("part"));
    }
    throw new IllegalArgumentException(
        name + " is no parameter of a model; use names in Hugging Face's scheme");
  }

  /** The name of a linear map's bias by that of its weight. */
  static String biasOf(String weight) {
    return module(weight) + ".bias";
  }

  private static String module(String weight) {
    if (!weight.endsWith(Names.WEIGHT)) {
      throw new IllegalArgumentException(weight + " is no weight; it ends in " + Names.WEIGHT);
    }
    return weight.substring(0, weight.length() - Names.WEIGHT.length());
  }

  /** The name of the factor of a linear map's low-rank change that reads, [rank, in]. */
  static String lowRankIn(String weight) {
    return module(weight) + Names.LOW_RANK + "A" + Names.WEIGHT;
  }

  /** The name of the factor of a linear map's low-rank change that writes, [out, rank]. */
  static String lowRankOut(String weight) {
    return module(weight) + Names.LOW_RANK + "B" + Names.WEIGHT;
  }

  static boolean isLowRank(String name) {
    return name.contains(Names.LOW_RANK);
  }

  /** Whether it is of attention or of the norm before it, as opposed to the MLP and its norm. */
  default boolean isOfAttention() {
    return Names.ATTENTION.contains(Names.first(Names.inLayer(this)));
  }

  /** Whether it is of a map between hidden states: of attention or of an MLP. */
  default boolean isOfHiddenMap() {
    return Names.HIDDEN.contains(Names.first(Names.inLayer(this)));
  }

  /** Whether it is of a norm on each head's query or key. */
  default boolean isOfHeadNorm() {
    return Names.HEAD_NORMS.contains(Names.inLayer(this));
  }

  /** How names are written; an interface's own constants are public. */
  final class Names {
    private static final String FINAL_NORM = "model.norm.";
    private static final String LAYERS = "model.layers.";
    private static final String LAYER_OF_HEAD = "layer.";
    private static final String WEIGHT = ".weight";
    private static final String ROUTER = ".gate.weight";
    private static final String LOW_RANK = ".lora_";
    private static final Pattern LAYER =
        Pattern.compile("model\\.layers\\.(?<layer>[0-9]+)\\.(?<part>.+)");
    private static final Pattern EXIT =
        Pattern.compile("exits\\.(?<layer>[0-9]+)\\.(?<module>[^.]+)\\.(?<part>.+)");
    private static final Set<String> ATTENTION =
        Set.of("input_layernorm", "self_attn", "attention_output_norm");
    private static final Set<String> HIDDEN = Set.of("self_attn", "mlp", "projection");
    private static final Set<String> HEAD_NORMS =
        Set.of("self_attn.q_norm.weight", "self_attn.k_norm.weight");

    private Names() {}

    /** The part in a layer, be that the trunk's or an exit's; empty where there is none. */
    private static String inLayer(ParameterName name) {
      return switch (name) {
        case OfLayer(int layer, String part) -> part;
        case OfExit(int layer, String module, String part) ->
            module.equals("block") ? part : module + "." + part;
        case OfDraftHead(String part) ->
            part.startsWith(Names.LAYER_OF_HEAD)
                ? part.substring(Names.LAYER_OF_HEAD.length())
                : part;
        case Embedding _, OfFinalNorm _, OutputMatrix _ -> "";
      };
    }

    private static String first(String part) {
      return part.split("\\.", 2)[0];
    }
  }
}
