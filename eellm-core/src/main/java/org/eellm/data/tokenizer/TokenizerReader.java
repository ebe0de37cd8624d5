package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.eellm.data.DataException;
import org.eellm.file.Shown;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Understands what {@link TokenizerFiles} has read. */
final class TokenizerReader {
  private static final Logger LOG = LoggerFactory.getLogger(TokenizerReader.class);

  /** GPT-2's name of the token that ends a text. */
  static final String END_OF_TEXT = "<|endoftext|>";

  /** Names of the token that ends a text, where {@code tokenizer_config.json} gives none. */
  private static final List<String> END_NAMES =
      List.of(END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>");

  static final int MAX_VOCABULARY = 1 << 24;
  private static final int MAX_HOLES = 1 << 10;

  private final TokenizerJson json;
  private final ObjectNode file;
  private final ObjectNode config;
  private final String place;
  private final Pieces pieces;
  private final Map<String, JsonNode> addedTokens = new LinkedHashMap<>();
  private final Map<Integer, String> addedNames = new HashMap<>();
  private final PieceDecoder decoder;

  private TokenizerReader(TokenizerJson json, ObjectNode config, String place) {
    this.json = json;
    this.config = config;
    this.place = place;
    file = json.rest();
    pieces = json.pieces();
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
    return of(TokenizerJson.of(file, place), config, place, config.toPrettyString());
  }

  /** As the other, with the configuration's own text. */
  static Tokenizer of(TokenizerJson json, ObjectNode config, String place, String configText) {
    return new TokenizerReader(json, config, place).tokenizer(configText);
  }

  private Tokenizer tokenizer(String configText) {
    Tokenizer.Vocabulary understood =
        new Tokenizer.Vocabulary(
            size(),
            this::token,
            endOfDocument(),
            beginningOfSequence(),
            decoder.dropsLeadingBlank());
    Tokenizer.TextEncoder encoder =
        BytePairEncoder.of(json, addedTokens, place)
            .orElseGet(() -> HuggingFaceEncoder.of(json, place));
    return new Tokenizer(understood, encoder, json::text, configText, null);
  }

  private void addTokens() {
    for (JsonNode token : file.path("added_tokens")) {
      String name = token.path("content").asText();
      int id = id(token.path("id"), place + ": added_tokens");
      if (name.isEmpty()) {
        throw new DataException(
            "%s: added_tokens: %d has no content; remove it".formatted(place, id));
      }
      String other = addedNames.put(id, name);
      if (other == null && pieces.has(id)) {
        other = pieces.piece(id);
      }
      if (other != null && !other.equals(name)) {
        throw sharedId(id, other, name, place);
      }
      int ownId = pieces.id(name);
      if ((ownId != Pieces.NONE && ownId != id) || addedTokens.put(name, token) != null) {
        throw new DataException(
            "%s: added_tokens: '%s' is there twice, with ids of its own; keep one"
                .formatted(place, Shown.of(name)));
      }
    }
  }

  static DataException sharedId(int id, String one, String other, String place) {
    return new DataException(
        "%s: '%s' and '%s' have the same id %d; give each its own"
            .formatted(place, Shown.of(one), Shown.of(other), id));
  }

  /** Refuses names of tokens that there are not. */
  private void requireNamedTokens() {
    JsonNode model = file.path("model");
    JsonNode unknown = model.path("unk_token");
    if (unknown.isTextual() && id(unknown.asText()).isEmpty()) {
      throw absent("model.unk_token", unknown.asText());
    }
    JsonNode unknownId = model.path("unk_id");
    if (!unknownId.isNull() && unknownId.asLong() >= pieces.size()) {
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
        "%s: %s: '%s' is no token of the vocabulary".formatted(place, key, Shown.of(name)));
  }

  private int size() {
    int size = pieces.idsEnd();
    int tokens = pieces.size();
    for (int id : addedNames.keySet()) {
      size = Math.max(size, id + 1);
      tokens += pieces.has(id) ? 0 : 1;
    }
    int holes = size - tokens;
    if (holes > tokens + MAX_HOLES) {
      throw new DataException(
          "%s: ids go to %d, but there are %d tokens; is the file whole?"
              .formatted(place, size - 1, tokens));
    }
    if (holes > 0) {
      LOG.warn("{}: {} of {} ids have no token; they are written as nothing", place, holes, size);
    }
    return size;
  }

  private Tokenizer.Token token(int id) {
    String name = addedNames.get(id);
    if (name == null) {
      return pieces.has(id)
          ? Tokenizer.Token.ordinary(decoder.bytes(pieces.piece(id)))
          : Tokenizer.Token.special("");
    }
    return isSpecial(addedTokens.get(name))
        ? Tokenizer.Token.special(name)
        : Tokenizer.Token.ordinary(name.getBytes(StandardCharsets.UTF_8));
  }

  private static boolean isSpecial(@Nullable JsonNode token) {
    return token != null && token.path("special").asBoolean();
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
    int id = pieces.id(name);
    return id == Pieces.NONE ? OptionalInt.empty() : OptionalInt.of(id);
  }

  private int id(String name, String key) {
    return id(name)
        .orElseThrow(
            () ->
                new DataException(
                    "%s: %s %s of %s is not in the vocabulary"
                        .formatted(place, key, Shown.of(name), Tokenizer.CONFIG_FILE)));
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
              .formatted(place, Shown.of(value), MAX_VOCABULARY - 1));
    }
    return value.intValue();
  }
}
