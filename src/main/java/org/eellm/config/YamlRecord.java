package org.eellm.config;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.Map;

/** Reads a small YAML file of its own kind into a record, as strictly as {@link ConfigFile}. */
public final class YamlRecord {
  private YamlRecord() {}

  /**
   * Binds a file over its defaults, key by key on the first level.
   *
   * @param name the file's name for messages
   * @param defaults YAML with values for the keys that may be left out
   * @throws ConfigException of one line, which begins with {@code name:line}, if anything in the
   *     file cannot be honoured
   */
  public static <T> T read(String yaml, String name, String defaults, Class<T> type) {
    Map<String, String> places = new HashMap<>();
    if (!(YamlReader.readFile(yaml, name, places) instanceof ObjectNode file)) {
      throw new ConfigException(name + ": is not a mapping; write keys and values");
    }
    JsonNode usual = YamlReader.readFile(defaults, "defaults", new HashMap<>());
    ObjectNode tree = usual.deepCopy();
    tree.setAll(file);
    try {
      return ConfigFile.MAPPER.treeToValue(tree, type);
    } catch (JsonProcessingException e) {
      throw new BindingErrors(tree, places, usual).explain(e);
    }
  }
}
