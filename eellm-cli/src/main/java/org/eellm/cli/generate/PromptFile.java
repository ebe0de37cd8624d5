package org.eellm.cli.generate;

import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.decode.request.GenerateException;

/** Prompts, one a line; {@code -} is standard input. */
public final class PromptFile {
  private PromptFile() {}

  static boolean isStandardInput(Path file) {
    return file.toString().equals("-");
  }

  /**
   * The lines that are not blank.
   *
   * @throws GenerateException if there are none, or the file is a folder or not UTF-8
   */
  public static List<String> lines(Path file) throws IOException {
    if (Files.isDirectory(file)) {
      throw new GenerateException(file + " is a folder; give a file with prompts, one a line");
    }
    try (Reader reader =
        isStandardInput(file)
            ? new InputStreamReader(System.in, StandardCharsets.UTF_8.newDecoder())
            : Files.newBufferedReader(file)) {
      List<String> texts = reader.readAllLines().stream().filter(line -> !line.isBlank()).toList();
      if (texts.isEmpty()) {
        throw new GenerateException(file + " has no prompt; write one a line");
      }
      return texts;
    } catch (CharacterCodingException malformed) {
      throw new GenerateException(file + " is not UTF-8; convert it, for example with iconv");
    }
  }
}
