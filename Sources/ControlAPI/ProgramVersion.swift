/// The version of both programs: they are made together.
public enum ProgramVersion {
    public static let text = "0.1.0"
}
