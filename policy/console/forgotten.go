package console

func (s *server) forgottenRoutes() {}
