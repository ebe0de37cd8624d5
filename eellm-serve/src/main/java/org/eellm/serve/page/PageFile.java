package org.eellm.serve.page;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/** A file of the page, read once: the paths of {@link #all} lead to one, and no other does. */
public final class PageFile {
  private static final String START = "index.html";

  private static final List<String> NAMES =
      List.of(
          START,
          "api.js",
          "charts.js",
          "chat.js",
          "curve.js",
          "decide.js",
          "icon.svg",
          "lens.js",
          "notebook.js",
          "page.css",
          "page.js",
          "picture.js",
          "run.js",
          "settings.js",
          "timing.js",
          "token.js",
          "view.js");

  private static final Map<String, String> TYPES =
      Map.of(
          "html", "text/html", "js", "text/javascript", "css", "text/css", "svg", "image/svg+xml");

  private final byte[] content;
  private final String type;

  /** Changes with the content, so that browsers ask again for what is new alone. */
  private final String tag;

  private PageFile(String name) {
    content = read(name);
    type = Objects.requireNonNull(TYPES.get(name.substring(name.indexOf('.') + 1)), name);
    tag = '"' + HexFormat.of().formatHex(sha256(content), 0, 8) + '"';
  }

  /** All of them by their paths. */
  public static Map<String, PageFile> all() {
    Map<String, PageFile> files = new TreeMap<>();
    NAMES.forEach(name -> files.put("/" + name, new PageFile(name)));
    files.put("/", new PageFile(START));
    return files;
  }

  private static byte[] read(String name) {
    try (InputStream in = PageFile.class.getResourceAsStream(name)) {
      if (in == null) {
        throw new IllegalStateException("the page's file " + name + " is missing");
      }
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static byte[] sha256(byte[] content) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(content);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }

  public byte[] content() {
    return content.clone();
  }

  public String type() {
    return type;
  }

  public String tag() {
    return tag;
  }

  /** Whether a client has this content that has content of these tags ({@code If-None-Match}). */
  public boolean isAmong(String tags) {
    return Arrays.stream(tags.split(",", -1))
        .map(String::strip)
        .anyMatch(each -> each.equals("*") || each.equals(tag) || each.equals("W/" + tag));
  }
}
