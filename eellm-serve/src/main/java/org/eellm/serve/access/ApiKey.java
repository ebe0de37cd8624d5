package org.eellm.serve.access;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.concurrent.Semaphore;
import java.util.regex.Pattern;
import org.eellm.config.SettingException;

/** A key that clients send, and how many requests they may have in work with it. */
public final class ApiKey {
  private static final Pattern NAME = Pattern.compile("[\\w.@-]{1,64}");

  private final String name;
  private final String secret;
  private final int limit;
  private final Semaphore places;

  private ApiKey(String name, String secret, int limit) {
    this.name = name;
    this.secret = secret;
    this.limit = limit;
    places = new Semaphore(limit);
  }

  /** A key without a name and a limit. */
  public static ApiKey of(String secret) {
    if (secret.isBlank()) {
      throw new SettingException("api-key", "is blank; give a key, or none at all");
    }
    return new ApiKey("", secret, Integer.MAX_VALUE);
  }

  /**
   * Reads {@code KEY}, {@code NAME KEY} or {@code NAME KEY LIMIT}.
   *
   * @throws IllegalArgumentException if it is none of these
   */
  static ApiKey parse(String line) {
    String[] words = line.split("\\s+");
    if (words.length == 1) {
      return of(line);
    }
    int limit = words.length == 2 ? Integer.MAX_VALUE : Integer.parseInt(words[2]);
    if (words.length > 3 || limit < 1 || !NAME.matcher(words[0]).matches()) {
      throw new IllegalArgumentException("no key");
    }
    return new ApiKey(words[0], words[1], limit);
  }

  /** What the log and metrics call it; empty if it has no name. */
  public String name() {
    return name;
  }

  /** Requests that may be in work at once. */
  public int limit() {
    return limit;
  }

  /** Takes a place for a request, which {@link #leave} gives back; false if there is none. */
  public boolean enter() {
    return places.tryAcquire();
  }

  /** A request is done. */
  public void leave() {
    places.release();
  }

  /** Whether both cannot be in one file. */
  boolean isLike(ApiKey other) {
    return is(other.secret) || !name.isEmpty() && name.equals(other.name);
  }

  /** Whether this is the key, in a time that says nothing of it. */
  boolean is(String given) {
    return MessageDigest.isEqual(bytes(given), bytes(secret));
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}
