package org.eellm.serve.access;

import java.net.URI;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.eellm.config.SettingException;

/**
 * The pages of other sites that may ask the server and read its answers.
 *
 * @param allowed their origins: scheme, name and port; {@link #ANY} for all pages
 */
public record AllowedOrigins(Set<String> allowed) {
  /** No page but the server's own. */
  public static final AllowedOrigins NONE = new AllowedOrigins(Set.of());

  /** In place of an origin: any. */
  public static final String ANY = "*";

  private static final Pattern ORIGIN =
      Pattern.compile("[a-z][a-z0-9+.-]*://([a-z0-9._~-]+|\\[[0-9a-f:.]+])(:[0-9]{1,5})?");

  private static final Pattern DEFAULT_PORT =
      Pattern.compile("^(?:(http://.*):80|(https://.*):443)$");

  public AllowedOrigins {
    Set<String> origins = new TreeSet<>();
    for (String origin : allowed) {
      if (!origin.equals(ANY) && !isOrigin(origin)) {
        throw new SettingException(
            "allow-origin",
            "'%s' is no origin; give scheme, name and port alone, as in https://app.example.com:8443, or * for all pages"
                .formatted(origin));
      }
      origins.add(normal(origin));
    }
    allowed = Set.copyOf(origins);
  }

  /** Whether a page's origin can be allowed by itself, as {@code null} cannot. */
  public static boolean isOrigin(String origin) {
    return ORIGIN.matcher(origin.toLowerCase(Locale.ROOT)).matches();
  }

  /** As browsers write it: in small letters, and without the scheme's own port. */
  private static String normal(String origin) {
    return DEFAULT_PORT.matcher(origin.toLowerCase(Locale.ROOT)).replaceFirst("$1$2");
  }

  /** Whether a page of this {@code Origin} may ask this {@code Host}, which may be its own. */
  public boolean admits(String origin, String host) {
    return isListed(origin) || isOwn(origin, host);
  }

  private boolean isListed(String origin) {
    return allowed.contains(ANY) || allowed.contains(normal(origin));
  }

  private static boolean isOwn(String origin, String host) {
    try {
      String authority = URI.create(origin).getRawAuthority();
      return authority != null && authority.equalsIgnoreCase(host);
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  /** Headers by which a browser lets a page of this {@code Origin} read an answer. */
  public Map<String, String> headers(String origin) {
    if (allowed.isEmpty()) {
      return Map.of();
    }
    if (!isListed(origin)) {
      return Map.of("Vary", "Origin");
    }
    return Map.of(
        "Vary",
        "Origin",
        "Access-Control-Allow-Origin",
        allowed.contains(ANY) ? ANY : origin,
        "Access-Control-Expose-Headers",
        "X-Request-Id, Retry-After");
  }
}
