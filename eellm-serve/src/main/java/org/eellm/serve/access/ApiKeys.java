package org.eellm.serve.access;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.List;
import org.eellm.config.SettingException;
import org.eellm.file.InputFiles;
import org.eellm.file.IoErrors;

/**
 * The keys of which clients have to know one.
 *
 * @param keys none if anybody may ask
 */
public record ApiKeys(List<String> keys) {
  public static final ApiKeys NONE = new ApiKeys(List.of());

  private static final int MOST_BYTES = 1 << 20;
  private static final String SCHEME = "Bearer ";

  public ApiKeys {
    keys = List.copyOf(keys);
    if (keys.stream().anyMatch(String::isBlank)) {
      throw new SettingException("api-key", "is blank; give a key, or none at all");
    }
  }

  /**
   * Reads a file with a key on each line.
   *
   * @throws SettingException if it cannot be read, or has none
   */
  public static ApiKeys read(Path file) {
    try {
      List<String> keys =
          InputFiles.text(file, MOST_BYTES)
              .lines()
              .map(String::strip)
              .filter(line -> !line.isEmpty())
              .toList();
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

  public boolean isEmpty() {
    return keys.isEmpty();
  }

  /** Whether a request with this {@code Authorization} is answered. */
  public boolean admits(String authorization) {
    if (!authorization.regionMatches(true, 0, SCHEME, 0, SCHEME.length())) {
      return isEmpty();
    }
    byte[] given = bytes(authorization.substring(SCHEME.length()).strip());
    boolean admitted = isEmpty();
    for (String key : keys) { // all of them, so that the time says nothing of any
      admitted |= MessageDigest.isEqual(given, bytes(key));
    }
    return admitted;
  }

  /** Without the keys, which no log is to have. */
  @Override
  public String toString() {
    return keys.size() + " keys";
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
