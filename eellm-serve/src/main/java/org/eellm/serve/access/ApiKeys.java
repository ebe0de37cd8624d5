package org.eellm.serve.access;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.config.SettingException;
import org.eellm.file.InputFiles;
import org.eellm.file.IoErrors;

/**
 * The keys of which clients have to know one.
 *
 * @param keys none if anybody may ask
 */
public record ApiKeys(List<ApiKey> keys) {
  public static final ApiKeys NONE = new ApiKeys(List.of());

  private static final int MOST_BYTES = 1 << 20;
  private static final String SCHEME = "Bearer ";

  public ApiKeys {
    keys = List.copyOf(keys);
  }

  /**
   * Reads a file with {@code KEY}, {@code NAME KEY} or {@code NAME KEY LIMIT} on each line, where
   * {@code #} begins a comment.
   *
   * @throws SettingException if it cannot be read, or has none
   */
  public static ApiKeys read(Path file) {
    try {
      List<ApiKey> keys = parse(file, InputFiles.text(file, MOST_BYTES).lines().toList());
      if (keys.isEmpty()) {
        throw new SettingException(
            "api-key-file", "'%s' has no key; write one on each line".formatted(file));
      }
      return new ApiKeys(keys);
    } catch (CharacterCodingException e) {
      throw new SettingException(
          "api-key-file", "'%s' is no text; write a key on each line".formatted(file));
    } catch (IOException e) {
      throw new SettingException(
          "api-key-file",
          "'%s' cannot be read: %s; give a file with a key".formatted(file, IoErrors.reason(e)));
    }
  }

  /** Messages have no line's content, which is secret. */
  private static List<ApiKey> parse(Path file, List<String> lines) {
    List<ApiKey> keys = new ArrayList<>();
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i).strip();
      if (line.isEmpty() || line.startsWith("#")) {
        continue;
      }
      try {
        ApiKey key = ApiKey.parse(line);
        if (keys.stream().anyMatch(key::isLike)) {
          throw new SettingException(
              "api-key-file",
              "'%s' line %d has the key or the name of a line above; give each once"
                  .formatted(file, i + 1));
        }
        keys.add(key);
      } catch (IllegalArgumentException e) {
        throw new SettingException(
            "api-key-file",
            "'%s' line %d is no key; write KEY, NAME KEY, or NAME KEY and the requests that it may have in work at once"
                .formatted(file, i + 1));
      }
    }
    return keys;
  }

  public boolean isEmpty() {
    return keys.isEmpty();
  }

  /** The key that a request has in its {@code Authorization}. */
  public Optional<ApiKey> find(String authorization) {
    if (!authorization.regionMatches(true, 0, SCHEME, 0, SCHEME.length())) {
      return Optional.empty();
    }
    String given = authorization.substring(SCHEME.length()).strip();
    // All of them are compared, so that the time says nothing of any.
    return keys.stream().filter(key -> key.is(given)).reduce((first, _) -> first);
  }

  /** Without the keys, which no log is to have. */
  @Override
  public String toString() {
    return keys.size() + " keys";
  }
}
