package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.eellm.data.DataException;
import org.eellm.file.Shown;
import org.eellm.gguf.TokenizerNodes;

/**
 * What files beside a vocabulary say of further tokens, where the vocabulary's own file has no
 * place for them.
 *
 * @param folder for messages
 * @param added the content of {@code added_tokens.json}, ids by names
 * @param special the content of {@code special_tokens_map.json}, names by their parts
 */
record TokensBeside(Path folder, ObjectNode added, ObjectNode special) {
  private static final String ADDED = "added_tokens.json";
  private static final String SPECIAL = "special_tokens_map.json";
  private static final List<String> PARTS =
      List.of("bos_token", "eos_token", "unk_token", "pad_token");

  /** Reads a folder's files; of those that are absent, nothing. */
  static TokensBeside read(Path folder) {
    return new TokensBeside(folder, object(folder.resolve(ADDED)), object(folder.resolve(SPECIAL)));
  }

  private static ObjectNode object(Path path) {
    return Files.exists(path) ? TokenizerFiles.parse(path) : JsonNodeFactory.instance.objectNode();
  }

  /**
   * Puts all of it into a tokenizer's two files. Of one token, {@code added_tokens_decoder} in
   * {@code tokenizer_config.json} says most and is taken before the others.
   *
   * @throws DataException if two of them disagree
   */
  void addTo(ObjectNode file, ObjectNode config) {
    for (String part : PARTS) {
      if (!config.has(part) && special.has(part)) {
        config.set(part, special.get(part));
      }
    }
    TreeMap<Integer, ObjectNode> tokens = new TreeMap<>();
    for (JsonNode token : file.path("added_tokens")) {
      tokens.put(token.path("id").asInt(), (ObjectNode) token);
    }
    Set<String> specials = specials(config);
    for (Map.Entry<String, JsonNode> entry : added.properties()) {
      int id = TokenizerReader.id(entry.getValue(), folder.resolve(ADDED).toString());
      ObjectNode token =
          TokenizerNodes.addedToken(id, entry.getKey(), specials.contains(entry.getKey()));
      put(tokens, token, ADDED);
    }
    for (Map.Entry<String, JsonNode> entry : config.path("added_tokens_decoder").properties()) {
      put(tokens, described(entry), Tokenizer.CONFIG_FILE);
    }
    file.putArray("added_tokens").addAll(tokens.values());
  }

  private ObjectNode described(Map.Entry<String, JsonNode> entry) {
    if (!entry.getKey().matches("[0-9]{1,8}")) {
      throw new DataException(
          "%s: added_tokens_decoder: %s is no token id"
              .formatted(folder.resolve(Tokenizer.CONFIG_FILE), Shown.of(entry.getKey())));
    }
    JsonNode value = entry.getValue();
    ObjectNode token =
        TokenizerNodes.addedToken(
            Integer.parseInt(entry.getKey()),
            value.path("content").asText(),
            value.path("special").asBoolean());
    for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized")) {
      token.put(flag, value.path(flag).asBoolean());
    }
    return token;
  }

  private void put(TreeMap<Integer, ObjectNode> tokens, ObjectNode token, String source) {
    ObjectNode other = tokens.put(token.path("id").asInt(), token);
    if (other != null && !other.path("content").equals(token.path("content"))) {
      throw new DataException(
          "%s: the token %s is '%s' there, but '%s' elsewhere; keep one"
              .formatted(
                  folder.resolve(source),
                  token.path("id"),
                  Shown.of(token.path("content").asText()),
                  Shown.of(other.path("content").asText())));
    }
  }

  /** The names that any of the files gives a part to play. */
  private Set<String> specials(ObjectNode config) {
    Set<String> names = new HashSet<>();
    for (ObjectNode source : List.of(special, config)) {
      for (String part : PARTS) {
        names.add(name(source.path(part)));
      }
      source.path("additional_special_tokens").forEach(token -> names.add(name(token)));
    }
    return names;
  }

  static String name(JsonNode token) {
    return (token.isObject() ? token.path("content") : token).asText("");
  }
}
