package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.data.DataException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Understands what {@link TokenizerFiles} has read. */
final class TokenizerReader {
  private static final Logger LOG = LoggerFactory.getLogger(TokenizerReader.class);

  /** Names of the token that ends a text, where {@code tokenizer_config.json} gives none. */
  private static final List<String> END_NAMES =
      List.of(BytePairEncoding.END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>");

  private static final int MAX_VOCABULARY = 1 << 24;
  private static final int MAX_HOLES = 1 << 10;

  private final ObjectNode file;
  private final ObjectNode config;
  private final String place;
  private final Map<String, Integer> vocabulary;
  private final Map<String, JsonNode> addedTokens = new LinkedHashMap<>();
  private final PieceDecoder decoder;

  private TokenizerReader(ObjectNode file, ObjectNode config, String place) {
    this.file = file;
    this.config = config;
    this.place = place;
    vocabulary = vocabulary(file.path("model").path("vocab"));
    addTokens();
    requireNamedTokens();
    decoder = PieceDecoder.of(file.path("decoder"), place);
  }

  /**
   * The tokenizer that two files describe.
   *
   * @param place what messages call the file
   */
  static Tokenizer of(ObjectNode file, ObjectNode config, String place) {
    return of(file, config, place, file.toPrettyString(), config.toPrettyString());
  }

  /** As the other, with the files' own texts. */
  static Tokenizer of(
      ObjectNode file, ObjectNode config, String place, String fileText, String configText) {
    return new TokenizerReader(file, config, place).tokenizer(fileText, configText);
  }

  private Tokenizer tokenizer(String fileText, String configText) {
    Tokenizer.Vocabulary understood =
        new Tokenizer.Vocabulary(
            tokens(), endOfDocument(), beginningOfSequence(), decoder.dropsLeadingBlank());
    Tokenizer.TextEncoder encoder =
        BytePairEncoder.of(file, vocabulary, addedTokens, place)
            .orElseGet(() -> HuggingFaceEncoder.of(file, vocabulary.keySet(), place));
    return new Tokenizer(understood, encoder, fileText, configText);
  }

  private Map<String, Integer> vocabulary(JsonNode pieces) {
    Map<String, Integer> ids = new HashMap<>();
    if (pieces.isArray()) { // a unigram model: pairs of piece and score
      for (JsonNode piece : pieces) {
        if (!piece.path(0).isTextual() || !Double.isFinite(piece.path(1).asDouble(Double.NaN))) {
          throw new DataException(
              "%s: model.vocab: %s is no pair of a piece and its score"
                  .formatted(place, shown(piece)));
        }
        if (ids.put(piece.path(0).asText(), ids.size()) != null) {
          throw new DataException(
              "%s: model.vocab: %s is there twice".formatted(place, shown(piece)));
        }
      }
    } else {
      for (Map.Entry<String, JsonNode> entry : pieces.properties()) {
        ids.put(entry.getKey(), id(entry.getValue(), place));
      }
    }
    if (ids.isEmpty()) {
      throw new DataException(place + ": has no model.vocab; is it a tokenizer.json?");
    }
    return ids;
  }

  private void addTokens() {
    Map<Integer, String> names = new HashMap<>();
    vocabulary.forEach(
        (piece, id) -> {
          String other = names.put(id, piece);
          if (other != null) {
            throw sharedId(id, other, piece);
          }
        });
    for (JsonNode token : file.path("added_tokens")) {
      String name = token.path("content").asText();
      int id = id(token.path("id"), place + ": added_tokens");
      if (name.isEmpty()) {
        throw new DataException(
            "%s: added_tokens: %d has no content; remove it".formatted(place, id));
      }
      String other = names.put(id, name);
      if (other != null && !other.equals(name)) {
        throw sharedId(id, other, name);
      }
      Integer ownId = vocabulary.get(name);
      if ((ownId != null && ownId != id) || addedTokens.put(name, token) != null) {
        throw new DataException(
            "%s: added_tokens: '%s' is there twice, with ids of its own; keep one"
                .formatted(place, shown(name)));
      }
    }
  }

  private DataException sharedId(int id, String one, String other) {
    return new DataException(
        "%s: '%s' and '%s' have the same id %d; give each its own"
            .formatted(place, shown(one), shown(other), id));
  }

  /** Refuses names of tokens that there are not. */
  private void requireNamedTokens() {
    JsonNode model = file.path("model");
    JsonNode unknown = model.path("unk_token");
    if (unknown.isTextual() && id(unknown.asText()).isEmpty()) {
      throw absent("model.unk_token", unknown.asText());
    }
    JsonNode unknownId = model.path("unk_id");
    if (!unknownId.isNull() && unknownId.asLong() >= vocabulary.size()) {
      throw absent("model.unk_id", unknownId.toString());
    }
    List<JsonNode> processors = parts(file.path("post_processor"), "processors");
    for (JsonNode processor : processors) {
      for (JsonNode part : processor.path("single")) {
        JsonNode name = part.path("SpecialToken").path("id");
        if (name.isTextual() && id(name.asText()).isEmpty()) {
          throw absent("post_processor", name.asText());
        }
      }
    }
  }

  private DataException absent(String key, String name) {
    return new DataException(
        "%s: %s: '%s' is no token of the vocabulary".formatted(place, key, shown(name)));
  }

  private List<Tokenizer.Token> tokens() {
    Map<Integer, Tokenizer.Token> byId = new HashMap<>();
    vocabulary.forEach((piece, id) -> byId.put(id, Tokenizer.Token.ordinary(decoder.bytes(piece))));
    addedTokens.forEach(
        (name, token) ->
            byId.put(
                id(token.path("id"), place),
                token.path("special").asBoolean()
                    ? Tokenizer.Token.special(name)
                    : Tokenizer.Token.ordinary(name.getBytes(StandardCharsets.UTF_8))));
    int size = byId.keySet().stream().mapToInt(Integer::intValue).max().orElseThrow() + 1;
    int holes = size - byId.size();
    if (holes > byId.size() + MAX_HOLES) {
      throw new DataException(
          "%s: ids go to %d, but there are %d tokens; is the file whole?"
              .formatted(place, size - 1, byId.size()));
    }
    if (holes > 0) {
      LOG.warn("{}: {} of {} ids have no token; they are written as nothing", place, holes, size);
    }
    Tokenizer.Token[] tokens = new Tokenizer.Token[size];
    Arrays.fill(tokens, Tokenizer.Token.special(""));
    byId.forEach((id, token) -> tokens[id] = token);
    return List.of(tokens);
  }

  private int endOfDocument() {
    Optional<String> named = name("eos_token");
    if (named.isPresent()) {
      return id(named.get(), "eos_token");
    }
    for (String name : END_NAMES) {
      OptionalInt id = id(name);
      if (id.isPresent()) {
        return id.getAsInt();
      }
    }
    throw new DataException(
        "%s: no token ends a text; name it as eos_token in %s beside it"
            .formatted(place, Tokenizer.CONFIG_FILE));
  }

  private OptionalInt beginningOfSequence() {
    List<JsonNode> processors = parts(file.path("post_processor"), "processors");
    Optional<String> templateName =
        processors.stream()
            .map(processor -> processor.path("single").path(0).path("SpecialToken").path("id"))
            .filter(JsonNode::isTextual)
            .map(JsonNode::asText)
            .findFirst();
    if (!config.path("add_bos_token").asBoolean(templateName.isPresent())) {
      return OptionalInt.empty();
    }
    Optional<String> name = name("bos_token").or(() -> templateName);
    return name.isPresent() ? OptionalInt.of(id(name.get(), "bos_token")) : OptionalInt.empty();
  }

  /** A special token's name in the configuration, written as text or as an object. */
  private Optional<String> name(String key) {
    JsonNode value = config.path(key);
    JsonNode name = value.isObject() ? value.path("content") : value;
    return name.isTextual() ? Optional.of(name.asText()) : Optional.empty();
  }

  private OptionalInt id(String name) {
    JsonNode added = addedTokens.get(name);
    if (added != null) {
      return OptionalInt.of(id(added.path("id"), place));
    }
    Integer id = vocabulary.get(name);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  private int id(String name, String key) {
    return id(name)
        .orElseThrow(
            () ->
                new DataException(
                    "%s: %s %s of %s is not in the vocabulary"
                        .formatted(place, key, shown(name), Tokenizer.CONFIG_FILE)));
  }

  /** The parts of a normalizer, processor or decoder, sequences of sequences resolved. */
  static List<JsonNode> parts(JsonNode node, String children) {
    if (node.path("type").asText().equals("Sequence")) {
      List<JsonNode> all = new ArrayList<>();
      node.path(children).forEach(child -> all.addAll(parts(child, children)));
      return all;
    }
    return node.isObject() ? List.of(node) : List.of();
  }

  static int id(JsonNode value, String place) {
    if (!value.canConvertToInt() || value.intValue() < 0 || value.intValue() >= MAX_VOCABULARY) {
      throw new DataException(
          "%s: %s is no token id; ids go from 0 to %d"
              .formatted(place, shown(value), MAX_VOCABULARY - 1));
    }
    return value.intValue();
  }

  /** A hostile value must not fill the screen or break the line. */
  static String shown(Object value) {
    String line = value.toString().replaceAll("\\p{Cntrl}", "?");
    return line.length() <= 80 ? line : line.substring(0, 77) + "...";
  }
}
